"""The compiled passes: recurrent layers on a CPU, faster than a library's products step by step.

This is the back room of `nn`. Its face are a few functions, each imported where it is called, since
the package needs numba:

- `layer.fused`: a layer over a whole sequence, with gradients (the engine `fused`);
- `sequence.read_steps` and `steps.kernels`: the recurrence without gradients, for reading and
  generating;
- `softmax.exponentials` and `weight_gradients`: the parts of a training step outside the layers;
- `tiles.shape_for`: whether there are tiles for this processor, and which.

**Why.** A recurrent layer multiplies a few rows (the streams of a batch) with the same small matrix
at every time step. One such product takes microseconds. A library spends as long on being called,
on packing its operands and on waiting for all threads at the end. Streams do not depend on each
other, so here each thread takes its own streams through *all* steps in one compiled function: no
calls, no packing and no waiting in between.

**Lanes, vectors, tiles, panels.** A processor adds and multiplies several numbers with one
instruction: a *vector* of 16 numbers in fp32 with AVX-512, 8 with AVX2, 4 on 64-bit Arm. Each place
in a vector is a *lane*. Vectors live in registers, of which there are 32, 16 and 32. To multiply
matrices fast, as many sums as possible must stay in registers while the factors stream past. Such a
block of sums is a *tile*: 8 rows of 2 vectors with AVX-512, 6 rows of 2 vectors with AVX2. The
columns of the matrix that one tile needs are stored one after the other, so that memory is read in
order: this is a *panel*, as wide as a tile. `tiles.Shape` holds these numbers, and one generator
writes the code for all of them.

**An example.** h is (3, 4) and W is (4, 20), on AVX2. A tile is 2 x 8 = 16 columns wide, so W
becomes two panels: columns 0 to 15, and 16 to 19 filled up with zeros to 16. For the first panel
the tile has 3 rows of 2 vectors, 6 sums in 6 registers, which begin as the bias. Then for each of
the 4 units k: load row k of the panel (2 vectors), copy h[row, k] into all lanes of a vector, and
add its products with the two vectors to the row's two sums. That is 6 instructions, each of 8
products. After 4 units the sums are stored and the second panel follows. In bf16 a unit is a *pair*
of neighbouring k, whose two products one instruction adds up in fp32.

**Files**, in the order in which they use each other: `compiling` (how Python functions become
machine code, and how rows are shared out among threads), `arithmetic` (tanh and its like on single
floats, bf16 storage), `tiles`, `steps` (a step's elementwise part, made from the equations in
`cells`), `sequence` (whole sequences), `weight_gradients`, `softmax`, `layer`.
"""
