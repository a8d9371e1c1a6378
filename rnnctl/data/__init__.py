"""Text in, ids out: documents, corpora, tokenizers, the id store, batches. No models here.

Why: whatever the source (a file, a table, a hub data set, stdin), the rest of the package sees a
`Corpus` of `Document`s in three splits, one `Tokenizer` made from the training split only, and a
memory-mapped `Store` of ids; each stage streams, so that a text of any size fits.

The way through, one module after the other: `sources` (which files), `opening` (what each is),
`from_tables` and `from_texts` (documents as they were given), `dividing` (splits and labels), all
called by `corpus`; then `tokenizers`, `store` and `batches`.
"""
