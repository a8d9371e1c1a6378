"""Word lists of both corpora."""

from __future__ import annotations

WOMEN = """Ada Agnes Alice Amira Anna Astrid Beatrice Bertha Bridget Carmen Cecily Clara Daisy Delia
Dora Edith Eleanor Elsa Emily Esther Eva Fatima Flora Frances Freya Gerda Greta Hannah Harriet Hazel
Helen Ida Ingrid Irene Iris Ivy Jane Josephine Judith Julia Karen Kirsten Laura Leila Lena Lillian
Louise Lucy Mabel Margaret Maria Marta Matilda Maud Mina Miriam Molly Nadia Nora Olga Olive Paula
Penelope Petra Phoebe Rachel Rita Rosa Ruth Sara Selma Sophie Susan Tamara Teresa Thea Ursula Vera
Violet Wilma Yasmin Zelda""".split()

MEN = """Abel Adam Albert Alfred Anton Arthur Axel Basil Benjamin Boris Bruno Caspar Cecil Charles
Clement Conrad Cyril Daniel David Edgar Edmund Edward Elias Emil Ernest Felix Frank Frederick
George Gilbert Gregor Gustav Harold Henry Herbert Hugo Igor Isaac Ivan Jacob James Jasper Joseph
Julius Karl Kurt Lars Laurence Leo Leonard Louis Lucas Magnus Marcus Martin Max Michael Milo Nathan
Nicholas Oliver Omar Oscar Otto Patrick Paul Peter Philip Ralph Robert Rufus Samuel Sebastian Simon
Stefan Theodore Thomas Tobias Victor Vincent Walter William""".split()

RELATIVES_F = ["mother", "sister", "aunt", "grandmother", "daughter", "niece", "cousin Emma"]
RELATIVES_M = ["father", "brother", "uncle", "grandfather", "son", "nephew", "cousin Fred"]

TOWNS = """Aldbourne Ashmere Barrow Bellfield Birchport Blackwater Brackley Brightsea Calder
Carrow Cawdale Coldharbour Copperhill Dunmore Eastwick Elmsworth Fairhaven Farleigh Felling
Glenmoor Greyfriars Hartlow Hazelbridge Highcliff Holloway Ironbridge Kettering Kingsford Lanercost
Larkfield Longmeadow Lowick Marlow Millbrook Netherby Newhaven Northgate Oakham Otterburn Penrose
Quarrington Ravenscar Redmarsh Rosedale Saltburn Seaford Shelby Silverdale Southwell Stanhope
Stonebridge Sunderby Thornbury Tidewell Upwell Wardale Waterford Westerham Whitby Wexcombe Yarrow
""".split()

COLOURS = """red blue green yellow white black brown grey orange purple pink golden silver violet
turquoise crimson""".split()

METALS = ["brass", "iron", "silver", "copper", "steel", "bronze", "tin", "golden"]

NUMBERS = """three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
sixteen seventeen eighteen nineteen twenty twenty-one twenty-two twenty-three twenty-four
twenty-five twenty-six twenty-seven twenty-eight twenty-nine thirty""".split()

HOURS = ["six", "seven", "eight", "nine", "ten", "eleven", "three", "four", "five"]
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
MONTHS = """January February March April May June July August September October November
December""".split()

SIZES = ["small", "little", "large", "heavy", "old", "new", "broken", "plain", "painted", "carved"]

TREASURES = [
    "compass", "lantern", "mirror", "violin", "flute", "clock", "kettle", "teapot", "vase",
    "chessboard", "telescope", "umbrella", "necklace", "bracelet", "brooch", "ring", "candlestick",
    "music box", "photograph album", "penknife", "fountain pen", "sewing box", "globe",
    "magnifying glass", "pocket watch", "scarf", "straw hat", "walking stick", "drum", "trumpet",
    "birdcage", "barometer", "spinning top", "coffee mill", "quilt", "jug", "bell", "wooden horse",
]  # fmt: skip

ITEMS = ["glove", "scarf", "hat", "umbrella", "handbag", "notebook", "purse", "cap", "shawl", "coat",
         "suitcase", "mitten", "raincoat", "wallet", "rucksack", "blanket"]  # fmt: skip

HIDING_PLACES = [
    "under the third stair", "behind the loose brick in the chimney", "inside the old piano",
    "beneath the roots of the pear tree", "in the hollow of the garden wall",
    "at the bottom of the flour bin", "under the floor of the boathouse",
    "behind the portrait in the hall", "on top of the kitchen dresser", "in the dry well",
    "inside the grandfather clock", "below the altar of the chapel", "in the loft over the stable",
    "under the beehive", "behind the water tank", "in the left boot by the back door",
    "between the pages of the atlas", "inside the stove that nobody lit",
]  # fmt: skip

PROFESSIONS = """baker blacksmith bookseller butcher carpenter clockmaker cook doctor dressmaker
driver farmer ferryman fisherman gardener glazier judge lawyer librarian locksmith miller miner
nurse painter pharmacist pilot plumber porter postman potter priest sailor schoolteacher shepherd
shoemaker soldier stonemason surveyor tailor weaver""".split()

FOODS = ["bread and cheese", "onion soup", "baked potatoes", "a plate of beans", "fried fish",
         "lentil stew", "an apple", "cold ham", "porridge", "scrambled eggs", "a slice of plum cake",
         "roast chicken", "pancakes", "dumplings", "a bowl of rice", "cabbage and sausages",
         "tomato soup", "a piece of pie"]  # fmt: skip

SHOPPING = ["candles", "flour", "salt", "nails", "thread", "matches", "honey", "soap", "butter",
            "eggs", "lamp oil", "paper", "ink", "rope", "seeds", "cheese", "onions", "tea", "wool",
            "buttons", "chalk", "vinegar", "raisins", "string", "almonds"]  # fmt: skip

FORBIDDEN_FOODS = {
    "nuts": ["walnut cake", "almond biscuits", "hazelnut ice cream"],
    "fish": ["baked trout", "smoked herring", "salmon pie"],
    "eggs": ["an omelette", "poached eggs", "egg sandwiches"],
    "milk": ["cream soup", "rice pudding", "a milk shake"],
    "strawberries": ["strawberry tart", "strawberry jam", "strawberries and cream"],
    "mushrooms": ["mushroom risotto", "stuffed mushrooms", "mushroom soup"],
    "garlic": ["garlic bread", "garlic sausage", "snails in garlic butter"],
    "honey": ["honey cake", "honeyed figs", "gingerbread with honey"],
    "onions": ["onion soup", "onion tart", "fried onions"],
    "pork": ["roast pork", "pork pie", "bacon dumplings"],
}

ANIMALS = ["dog", "cat", "goat", "donkey", "parrot", "crow", "hare", "pony", "goose", "tortoise",
           "hedgehog", "squirrel"]  # fmt: skip
PET_NAMES = ["Biscuit", "Button", "Captain", "Cobweb", "Duchess", "Ember", "Fidget", "Ginger",
             "Hopper", "Juniper", "Marble", "Mustard", "Nutmeg", "Patch", "Pepper", "Pilot",
             "Pickle", "Rascal", "Shadow", "Thimble", "Tinker", "Whisper"]  # fmt: skip
HERDS = ["sheep", "cows", "horses", "goats", "geese", "hens", "ducks", "pigs", "calves", "ponies"]

COUNTRIES = {
    "France": "French", "Spain": "Spanish", "Germany": "German", "Italy": "Italian",
    "Poland": "Polish", "Russia": "Russian", "Turkey": "Turkish", "Greece": "Greek",
    "Sweden": "Swedish", "Norway": "Norwegian", "Denmark": "Danish", "Finland": "Finnish",
    "Hungary": "Hungarian", "Portugal": "Portuguese", "Japan": "Japanese", "China": "Chinese",
    "Iceland": "Icelandic", "Wales": "Welsh", "Romania": "Romanian", "Bulgaria": "Bulgarian",
    "Korea": "Korean", "Vietnam": "Vietnamese", "Egypt": "Arabic", "Holland": "Dutch",
}  # fmt: skip

PASSWORDS = """moonlight barley thunder sparrow marigold anchor juniper lantern winter pepper
feather copper willow harvest velvet saffron walnut river candle falcon""".split()

MEETING_PLACES = ["the fountain", "the railway station", "the old bridge", "the lighthouse",
                  "the town hall", "the museum steps", "the harbour wall", "the cathedral door",
                  "the bandstand", "the clock tower", "the mill", "the ferry landing",
                  "the chestnut tree", "the post office"]  # fmt: skip

STAKES = ["a bottle of wine", "his best fishing rod", "a week of washing-up", "five silver coins",
          "a chocolate cake", "a sack of apples", "a new hat", "a day's work", "a basket of eggs",
          "a pound of coffee"]  # fmt: skip

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
