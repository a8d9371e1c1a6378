"""Word lists of both corpora."""

from __future__ import annotations

WOMEN = ["Ada", "Clara", "Edith", "Flora", "Greta", "Hannah"]
MEN = ["Adam", "Bruno", "Daniel", "Edgar", "Felix", "Hugo"]
THINGS = ["compass", "drum", "kettle", "lantern", "mirror", "ring", "vase", "violin"]

FOODS = ["bread and cheese", "onion soup", "baked potatoes", "a plate of beans", "fried fish",
         "lentil stew", "an apple", "cold ham", "porridge", "scrambled eggs", "a slice of plum cake",
         "roast chicken", "pancakes", "dumplings", "a bowl of rice", "cabbage and sausages",
         "tomato soup", "a piece of pie"]  # fmt: skip

PROFESSIONS = """baker blacksmith bookseller butcher carpenter clockmaker cook doctor dressmaker
driver farmer ferryman fisherman gardener glazier judge lawyer librarian locksmith miller miner
nurse painter pharmacist pilot plumber porter postman potter priest sailor schoolteacher shepherd
shoemaker soldier stonemason surveyor tailor weaver""".split()

TOWNS = """Aldbourne Ashmere Barrow Bellfield Birchport Blackwater Brackley Brightsea Calder
Carrow Cawdale Coldharbour Copperhill Dunmore Eastwick Elmsworth Fairhaven Farleigh Felling
Glenmoor Greyfriars Hartlow Hazelbridge Highcliff Holloway Ironbridge Kettering Kingsford Lanercost
Larkfield Longmeadow Lowick Marlow Millbrook Netherby Newhaven Northgate Oakham Otterburn Penrose
Quarrington Ravenscar Redmarsh Rosedale Saltburn Seaford Shelby Silverdale Southwell Stanhope
Stonebridge Sunderby Thornbury Tidewell Upwell Wardale Waterford Westerham Whitby Wexcombe Yarrow
""".split()

COLOURS = """red blue green yellow white black brown grey orange purple pink golden silver violet
turquoise crimson""".split()

# Small things that fill sentences of the middle part.
LISTS: dict[str, list[str]] = {
    "food": FOODS,
    "drink": ["tea", "coffee", "cider", "milk", "hot chocolate", "water", "ginger beer", "cocoa"],
    "tree": ["oak", "birch", "willow", "poplar", "chestnut", "pine", "lime", "elm", "walnut", "ash"],
    "bird": ["thrush", "magpie", "heron", "gull", "swallow", "starling", "woodpecker", "owl",
             "blackbird", "wagtail"],
    "flower": ["roses", "poppies", "daisies", "lilacs", "tulips", "sunflowers", "foxgloves"],
    "fabric": ["linen", "wool", "cotton", "velvet", "canvas", "silk"],
    "who": PROFESSIONS,
    "town": TOWNS,
    "few": ["two", "three", "four", "five", "half a dozen", "several", "a few"],
    "while": ["a minute", "a while", "a quarter of an hour", "half an hour", "an hour",
              "longer than usual", "some time"],
    "sound": ["a bell", "a door", "a dog barking", "the rattle of a cart", "someone whistling",
              "a clock striking", "a violin", "laughter", "hammering", "a kettle", "footsteps"],
    "smell": ["fresh bread", "wet earth", "smoke", "coffee", "paint", "cut grass", "tar", "apples",
              "soap", "old books", "frying onions"],
    "old": ["old", "tall", "tired", "young", "thin", "stout", "cheerful", "silent", "bearded",
            "freckled", "sleepy", "polite"],
    "person": ["man", "woman", "boy", "girl", "{who}", "{who}", "{who}", "stranger", "neighbour"],
    "slowly": ["slowly", "quickly", "quietly", "without a word", "carefully", "at once",
               "with a sigh", "with a smile"],
    "topic": ["the price of coal", "the new bridge", "the harvest", "a wedding in {town}",
              "the mayor's horse", "the football match", "last week's storm", "the railway strike",
              "a film", "the election", "a recipe for plum jam", "the cost of shoes"],
    "thing": ["a ladder", "a basket of pears", "a rolled carpet", "a bicycle", "a sack of letters",
              "two buckets", "a sleeping child", "a birthday cake", "a cello", "a bundle of sticks",
              "a bunch of {flower}", "a tray of glasses", "a pane of glass"],
    "kept": ["button", "ticket", "pebble", "pencil", "coin", "feather", "leaf", "walnut"],
    "game": ["cards", "chess", "marbles", "draughts", "dominoes", "skittles"],
    "tune": ["an old march", "a waltz", "a hymn", "a lullaby", "a song about {town}"],
    "distance": ["a mile", "two miles", "three miles", "half a mile", "a hundred yards"],
    "colour": COLOURS,
}  # fmt: skip
