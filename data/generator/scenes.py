"""The middle of a paragraph: scenes whose steps follow each other, and say nothing of its plot.

`{He} {he} {his} {him} {self}` are the person of the paragraph.
"""

from __future__ import annotations

# Each scene is a list of steps in their order; of each step one sentence is taken, or none.
SCENES: dict[str, list[list[str]]] = {
    "city": [
        ["In the city the streets were already full of people on their way to work.",
         "{He} took the tram to the centre and stood all the way."],
        ["The post office had moved, and {he} walked round the block to find it."],
        ["The lift was out of order, and {he} climbed to the sixth floor on foot.",
         "A tram had left the rails, and everybody gave advice."],
        ["On the bridge {he} leaned over the rail and watched the barges."],
        ["A clerk stamped three forms, tore up one, and wished {him} a good day.",
         "{He} had {his} shoes mended while {he} waited in {his} socks."],
        ["When the street lamps came on {he} had finished.",
         "The crowd carried {him} as far as the station square.",
         "Above the roofs the first lit windows appeared."],
    ],
    "farm": [
        ["On the farm everybody was up before the sun.",
         "{He} filled the trough, opened the stable and let the hens out.",
         "Behind the barn the grass was still wet."],
        ["A wheel of the cart was broken, and they propped it up with a stone.",
         "{He} carried water from the pump until {his} arms ached.",
         "The dog drove the geese into the pond and was proud of it."],
        ["Then they mowed the strip along the brook, side by side.",
         "{He} mended the fence between the orchard and the lane.",
         "They picked beans until noon, and then the early apples."],
        ["In the afternoon a gate had to be painted, and {he} did both sides.",
         "They loaded the cart so high that it swayed like a ship.",
         "The rake broke, and {he} cut a new handle from an ash branch."],
        ["In the evening the swallows flew low over the yard.",
         "When the animals were fed {he} washed at the pump.",
         "The last cart came in by moonlight.",
         "They sat on the bench before the house until the midges came."],
    ],
    "workshop": [
        ["{He} tied on {his} apron and cleared the bench.",
         "There was a lot to do that week, and {he} did one thing after another."],
        ["{He} measured everything twice and wrote the numbers on the wall."],
        ["The saw sang, the dust danced in the light, and nobody could hear a word.",
         "Somebody had taken the small hammer, and everybody looked for it."],
        ["The master came, ran a thumb along the edge, and said nothing.",
         "{He} burned {his} finger on the glue pot and held it under the pump."],
        ["{He} oiled the hinges, tried the lid, and oiled them once more.",
         "The wood split at the last stroke, and {he} had to begin again.",
         "By four o'clock the shavings lay as high as {his} ankles."],
        ["When the whistle blew {he} swept up and hung the tools on their nails.",
         "In the evening {he} washed {his} hands at the pump in the yard."],
    ],
    "forest": [
        ["{He} followed the stream uphill, from stone to stone.",
         "Behind the last field the forest began."],
        ["The ground was soft, and {his} steps made no noise."],
        ["{He} lost the path, went in a circle, and came upon {his} own footprints."],
        ["{He} drank from the stream with both hands.",
         "A hare sat in the grass, looked at {him}, and was gone."],
        ["The light was already low between the trunks when {he} turned back."],
        ["On the way back {he} walked faster and did not look round.",
         "It was getting dark, and every bush looked like a person.",
         "An owl called, and another one answered.",
         "At the edge of the forest {he} shook the needles from {his} coat."],
    ],
}  # fmt: skip

# Between two scenes.
BRIDGES = [
    "But the day was not over.", "Later there were other things to do.",
    "Then things took another turn.", "That was the first part of the day.",
]  # fmt: skip
