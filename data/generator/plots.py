"""The frames of the paragraphs: something is said at the beginning that the end takes up again.

A plot draws what is to be remembered, opens with it and closes with it. Openings and closings are
templates; `{Name} {He} {he} {his} {him}` are the person, every other slot is one of the plot's own
or a list of `words.LISTS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import words as w
from draw import Draw

Drawn = dict[str, str]


@dataclass(frozen=True)
class Plot:
    """One kind of paragraph. `draw` draws what the end will need; `teller`: told in the first
    person, between quotation marks."""

    name: str
    draw: Callable[[Draw], Drawn]
    openings: list[str]
    closings: list[str]
    teller: bool = False


def _relative(draw: Draw) -> Drawn:
    if draw.chance(0.5):
        return {"relative": draw.pick(w.RELATIVES_F), "she": "she", "her": "her", "She": "She"}
    return {"relative": draw.pick(w.RELATIVES_M), "she": "he", "her": "his", "She": "He"}


def _friend(draw: Draw) -> Drawn:
    if draw.chance(0.5):
        return {"Friend": draw.pick(w.WOMEN), "she": "she", "her": "her", "She": "She"}
    return {"Friend": draw.pick(w.MEN), "she": "he", "her": "his", "She": "He"}


def _promise(draw: Draw) -> Drawn:
    return {"size": draw.pick(w.SIZES), "treasure": draw.pick(w.TREASURES), **_relative(draw)}


def _hidden(draw: Draw) -> Drawn:
    return {"treasure": draw.pick(w.TREASURES), "hiding": draw.pick(w.HIDING_PLACES)}


def _door(draw: Draw) -> Drawn:
    return {
        "hue": draw.pick(w.COLOURS),
        "goal": draw.pick(w.TOWNS),
        "thing1": draw.pick(w.TREASURES),
    }


def _number(draw: Draw) -> Drawn:
    rooms = ["room", "locker", "cabin", "box", "house", "seat", "gate", "bed"]
    return {"number": draw.pick(w.NUMBERS), "place": draw.pick(rooms)}


WAGERS = {
    "it would snow": ("It had snowed all night", "Not a flake had fallen"),
    "it would rain": ("It had been raining since midnight", "It had not rained a drop"),
    "the river would freeze": ("The river was frozen from bank to bank", "The river was not frozen"),
    "the cherry would bloom": ("The cherry stood in full bloom", "The cherry was still bare"),
    "the bridge would be finished": (
        "The bridge was finished, flags and all", "The bridge still ended in mid-air"),
    "the hen would hatch her eggs": (
        "Eleven chicks were running about the yard", "The hen was still sitting on her eggs"),
    "the letter would come": ("The letter lay on the mat", "The letter had not come"),
    "the clock would stop": ("The clock had stopped", "The clock was still ticking"),
}  # fmt: skip


def _wager(draw: Draw) -> Drawn:
    claim = draw.pick(list(WAGERS))
    won = draw.chance(0.5)
    return {
        "claim": claim,
        "outcome": WAGERS[claim][0 if won else 1],
        "day": draw.pick(w.DAYS),
        "stake": draw.pick(w.STAKES).replace("his ", "the "),
        "Loser": "{Friend}" if won else "{Name}",
        "Winner": "{Name}" if won else "{Friend}",
        **_friend(draw),
    }


MOODS = {
    "in high spirits": "cheerful", "in a black mood": "gloomy", "full of fear": "afraid",
    "full of hope": "hopeful", "sick with envy": "envious", "ashamed of everything": "ashamed",
    "proud as a king": "proud", "angry with the whole world": "angry",
    "homesick": "homesick", "deeply grateful": "grateful",
}  # fmt: skip
CAUSES = [
    "the neighbour had got a medal", "the doctor had said so", "the baby had learned to walk",
    "a letter had come from Australia", "the old dog had died", "the school had burned down",
    "the rent had gone up again", "the choir had won the first prize",
    "the wedding had been put off", "the lost ring had been found",
    "the roof had begun to leak", "the piano had been sold",
]  # fmt: skip


def _mood(draw: Draw) -> Drawn:
    mood = draw.pick(list(MOODS))
    return {"mood": mood, "adjective": MOODS[mood], "cause": draw.pick(CAUSES)}


# what was left undone -> what came of it
CONSEQUENCES = {
    "the garden gate open": "{count} sheep were standing among the lettuces",
    "the tap running": "the water was coming down the stairs",
    "the iron on the shirt": "a brown triangle had been burned into the linen",
    "the stable door unlocked": "the horse was {miles} away, eating somebody's clover",
    "the window open": "the rain had soaked the carpet and {count} books",
    "the cake in the oven": "the cake was a lump of coal, and the kitchen black with smoke",
    "the candle burning": "the curtain had caught fire",
    "the boat untied": "the boat was drifting {miles} from the shore",
    "the birdcage open": "the canary was sitting on the church tower",
    "the sausages on the table": "the dog lay under the table and could not move for sausages",
    "the key in the lock": "the silver was gone, and so were {count} spoons",
    "the ladder against the wall": "{count} boys were sitting on the roof",
    "the milk on the step": "the cat had licked the bottle clean",
    "the cork off the ink": "a blue lake was spreading over the letters",
}  # fmt: skip


def _consequence(draw: Draw) -> Drawn:
    left = draw.pick(list(CONSEQUENCES))
    count, miles = draw.pick(w.NUMBERS[:8]), draw.pick(["a mile", "two miles", "three miles"])
    return {"left": left, "result": CONSEQUENCES[left].format(count=count, miles=miles)}


QUESTIONS = {
    "Where did you learn to swim": "I learned to swim in the millpond at {goal}",
    "Who taught you to play the violin": "A shoemaker in {goal} taught me the violin",
    "Why do you never wear a hat": "The wind took my last hat off the pier at {goal}",
    "How did you come by that scar": "I got the scar when I fell from a hay cart in {goal}",
    "Where did you find that ring": "I found the ring inside a pike that was caught at {goal}",
    "Why do you always carry an umbrella": "I once got wet to the skin in {goal} without an umbrella",
    "Who gave you that parrot": "A captain gave me the parrot when his ship was sold at {goal}",
    "How did you lose your finger": "I lost the finger to a circular saw in {goal}",
    "When did you stop smoking": "I stopped smoking on the day the factory in {goal} exploded",
    "Why are you afraid of horses": "A horse kicked me into the canal at {goal}",
    "Where did you get such a coat": "I got the coat from a theatre in {goal} that was closing down",
    "What became of your twin": "My twin keeps bees near {goal}",
}  # fmt: skip


def _question(draw: Draw) -> Drawn:
    question = draw.pick(list(QUESTIONS))
    goal = draw.pick(w.TOWNS)
    return {"question": question, "answer": QUESTIONS[question].format(goal=goal), **_friend(draw)}


SAYINGS = [
    "Never trust a man who counts his {herd} aloud",
    "A {metal} key opens every door but one",
    "Whoever waters the {flowers} owns the garden",
    "You cannot weigh {goods} with your eyes",
    "He who goes to {goal} comes back with {goods}",
    "Buy {goods} in May and you will laugh in December",
    "A quiet {animal} is worth two loud ones",
    "Do not sell the {treasure} before you have heard it ring",
    "All roads from {goal} go downhill",
    "One {animal} knows what {herd} forget",
]


def _saying(draw: Draw) -> Drawn:
    saying = draw.pick(SAYINGS).format(
        herd=draw.pick(w.HERDS),
        metal=draw.pick(w.METALS),
        flowers=draw.pick(w.LISTS["flower"]),
        goods=draw.pick(w.SHOPPING),
        goal=draw.pick(w.TOWNS),
        animal=draw.pick(w.ANIMALS),
        treasure=draw.pick(w.TREASURES),
    )
    return {"saying": saying, **_relative(draw)}


def _lost(draw: Draw) -> Drawn:
    return {
        "hue": draw.pick(w.COLOURS),
        "item": draw.pick(w.ITEMS),
        "spot": draw.pick(w.MEETING_PLACES).removeprefix("the "),
    }


def _shopping(draw: Draw) -> Drawn:
    first, second, third = draw.sample(w.SHOPPING, 3)
    return {"one": first, "two": second, "three": third, **_relative(draw)}


# a trade and the trouble that calls for it
TROUBLES = {
    "locksmith": "the key broke off in the lock", "doctor": "the child ran a fever",
    "carpenter": "the table lost a leg", "shoemaker": "the heel came off the boot",
    "tailor": "the coat tore down the back", "plumber": "the pipe burst under the sink",
    "clockmaker": "the church clock stood still", "baker": "there was no bread in the house",
    "glazier": "a ball went through the window", "blacksmith": "the mare lost a shoe",
    "ferryman": "the bridge was washed away", "gardener": "the vine began to wither",
    "postman": "nobody could find the address", "lawyer": "the landlord went to court",
    "cook": "forty guests sat down hungry", "painter": "the sign could not be read any more",
    "pilot": "the island could only be reached by air", "weaver": "the carpet had a hole in it",
    "pharmacist": "the cough would not go away", "shepherd": "the flock had strayed in the hills",
}  # fmt: skip


def _trades(draw: Draw) -> Drawn:
    trade, other = draw.sample(list(TROUBLES), 2)
    return {"trade": trade, "other": other, "trouble": TROUBLES[trade], **_friend(draw)}


def _letter(draw: Draw) -> Drawn:
    return {
        "spot": draw.pick(w.MEETING_PLACES),
        "hour": draw.pick(w.HOURS),
        "day": draw.pick(w.DAYS),
        "goal": draw.pick(w.TOWNS),
    }


def _language(draw: Draw) -> Drawn:
    country = draw.pick(list(w.COUNTRIES))
    return {"country": country, "language": w.COUNTRIES[country]}


def _pet(draw: Draw) -> Drawn:
    return {
        "animal": draw.pick(w.ANIMALS),
        "pet": draw.pick(w.PET_NAMES),
        "hue": draw.pick(["brown", "black", "grey", "white"]),
    }


def _key(draw: Draw) -> Drawn:
    metal, other = draw.sample(w.METALS, 2)
    boxes = ["chest", "cupboard", "cellar", "garden gate", "desk", "attic", "boathouse", "safe"]
    return {
        "metal": metal,
        "other": other,
        "lock": draw.pick(boxes),
        "treasure": draw.pick(w.TREASURES),
    }


def _diet(draw: Draw) -> Drawn:
    food = draw.pick(list(w.FORBIDDEN_FOODS))
    return {"forbidden": food, "dish": draw.pick(w.FORBIDDEN_FOODS[food]), **_friend(draw)}


def _count(draw: Draw) -> Drawn:
    number = draw.between(2, len(w.NUMBERS) - 2)
    step = draw.pick([-1, 0, 1])
    change = {
        -1: ["One of them had got away", "A fox had taken one", "One had been sold meanwhile"],
        0: ["None was missing", "They were all there"],
        1: ["One had been born in the meantime", "A stranger had joined them"],
    }
    return {
        "number": w.NUMBERS[number],
        "later": w.NUMBERS[number + step],
        "change": draw.pick(change[step]),
        "herd": draw.pick(w.HERDS),
    }


def _clock(draw: Draw) -> Drawn:
    minutes = [
        "ten past",
        "a quarter past",
        "twenty past",
        "half past",
        "twenty to",
        "a quarter to",
    ]
    halls = ["in the hall", "on the town hall", "in the station", "over the school door",
             "on the mantelpiece", "in the bank"]  # fmt: skip
    hour = draw.pick([*w.HOURS, "one", "two", "twelve"])
    return {"time": f"{draw.pick(minutes)} {hour}", "hall": draw.pick(halls)}


def _password(draw: Draw) -> Drawn:
    gates = ["the gate of the fort", "the back room of the inn", "the cellar of the theatre",
             "the garden of the club", "the tower", "the smugglers' cave"]  # fmt: skip
    return {
        "word": draw.pick(w.PASSWORDS),
        "second": draw.pick(w.PASSWORDS),
        "gate": draw.pick(gates),
    }


def _teller(draw: Draw) -> Drawn:
    stories = {
        "how I lost my {x}": [
            "watch",
            "hat",
            "left shoe",
            "horse",
            "ring",
            "best friend",
            "accent",
        ],
        "how I came by this {x}": ["watch", "scar", "boat", "parrot", "house", "medal", "piano"],
        "why I never eat {x}": ["fish", "eggs", "mushrooms", "cherries", "cheese", "honey"],
        "why I left {x}": w.TOWNS,
        "what I did in the year of the great {x}": ["flood", "frost", "drought", "fire", "comet"],
    }
    story = draw.pick(list(stories))
    return {"story": story.format(x=draw.pick(stories[story])), "trade": draw.pick(w.PROFESSIONS)}


PLOTS = [
    Plot("promise", _promise,
         ["{Name} had promised {his} {relative} {a} {size} {treasure} from {goods}.",
          "\"Bring me {a} {size} {treasure},\" {his} {relative} had said to {Name}, and {he} had promised.",
          "Before {he} left, {Name} promised to bring {his} {relative} {a} {size} {treasure}."],
         ["When {he} came home, {his} {relative} stood at the door and held out {her} hands. {Name} opened the bag and took out the {size} {treasure}.",
          "\"And what have you brought me?\" asked {his} {relative}. \"What I promised,\" said {Name}: \"{a} {size} {treasure}.\"",
          "At last {he} could keep {his} promise: on the table before {his} {relative} {he} set the {size} {treasure}."]),
    Plot("hidden", _hidden,
         ["Before going away {Name} hid the {treasure} {hiding}.",
          "Nobody but {Name} knew that the {treasure} lay {hiding}.",
          "{Name} was only nine years old when {he} hid {his} grandmother's {treasure} {hiding}."],
         ["Only then did {he} think of the {treasure} again. {Name} looked {hiding}, and there it was.",
          "In the end {Name} went back to the old house and reached {hiding}. The {treasure} had not been touched.",
          "\"Where is the {treasure}?\" they asked {him}. \"{Hiding},\" said {Name}, \"where it has always been.\""]),
    Plot("door", _door,
         ["{Name} was to take the {thing1} to a house in {goal} with a {hue} door.",
          "\"You will know the house in {goal} by its {hue} door,\" they had told {Name}, and had given {him} the {thing1}.",
          "The {thing1} was meant for somebody in {goal} behind a {hue} door, and {Name} was to deliver it."],
         ["At last {he} was in {goal}, before a {hue} door. {Name} knocked and handed over the {thing1}.",
          "There were many houses in {goal}, but only one had a {hue} door. {Name} left the {thing1} there.",
          "{He} went through {goal} from end to end until {he} saw the {hue} door; then {Name} unwrapped the {thing1}."]),
    Plot("number", _number,
         ["\"{Place} number {number},\" said the porter, and {Name} repeated it to {self}.",
          "{Name} had been told to go to {place} number {number} and to wait there.",
          "On {Name}'s ticket stood {place} {number}, and nothing else."],
         ["Finally {Name} found {place} number {number} and sat down to wait.",
          "\"Which {place}?\" asked the attendant. \"Number {number},\" said {Name}.",
          "{He} read the numbers under {his} breath, and at {number} {he} stopped. It was the right {place}."]),
    Plot("wager", _wager,
         ["{Name} bet {Friend} {stake} that {claim} before {day}.",
          "\"I bet you {stake},\" said {Name} to {Friend}, \"that {claim} before {day}.\"",
          "That {claim} before {day} was what {Name} believed and {Friend} did not, and the stake was {stake}."],
         ["Then {day} came. {outcome}, and {Loser} gave {Winner} {stake}.",
          "On {day} they both looked out. {outcome}: {Winner} had won {stake}.",
          "When {day} was there, {Loser} saw that the bet was lost. {outcome}, and {stake} went to {Winner}."]),
    Plot("mood", _mood,
         ["{Name} woke up {mood}, because {cause}.",
          "Since {cause}, {Name} had been {mood}.",
          "That morning {Name} was {mood}. The reason was that {cause}."],
         ["In the evening {Name} was still {adjective}, and no wonder: {cause}.",
          "\"Why so {adjective}?\" they asked {Name}. \"Because {cause},\" {he} answered.",
          "Nothing of all this had changed {his} mood. {Name} was as {adjective} as before, for {cause}."]),
    Plot("consequence", _consequence,
         ["When {Name} went out that day, {he} left {left}.",
          "In {his} hurry {Name} had left {left}.",
          "{Name} was sure of having thought of everything, but {he} had left {left}."],
         ["When {he} came back, {result}. {Name} had left {left}.",
          "At home {result}, and {Name} knew at once that {he} had left {left}.",
          "Nobody had to tell {Name} that {he} had left {left}: {result}."]),
    Plot("question", _question,
         ["\"{question}?\" {Friend} asked {Name}, but got no answer.",
          "\"{question}?\" was the first thing {Friend} wanted to know from {Name}.",
          "{Friend} had only one question for {Name}. \"{question}?\" {she} asked."],
         ["Then {Name} remembered the question. \"{answer},\" {he} said to {Friend}.",
          "It was late when {Name} answered at last. \"{answer},\" {he} said, \"if you must know.\"",
          "\"{answer},\" said {Name} all of a sudden, and {Friend} needed a moment to recall what {she} had asked."]),
    Plot("saying", _saying,
         ["\"{saying},\" {Name}'s {relative} used to say.",
          "{Name} had learned one thing from {his} {relative}: \"{saying}.\"",
          "\"{saying}.\" With these words {his} {relative} had sent {Name} out into the world."],
         ["{Name} thought of {his} {relative} and said aloud: \"{saying}.\"",
          "So {his} {relative} had been right after all. \"{saying},\" murmured {Name}.",
          "\"{saying},\" {he} said to {self}, and it seemed to {Name} that {he} heard {his} {relative}'s voice."]),
    Plot("lost", _lost,
         ["{Name} had lost a {hue} {item} near the {spot}.",
          "Somewhere near the {spot} {Name} must have dropped {his} {hue} {item}.",
          "It was only at the {spot} that {Name} noticed: {his} {hue} {item} was gone."],
         ["A stranger touched {his} arm. \"I think you lost this {hue} {item} near the {spot},\" the stranger said to {Name}.",
          "Near the {spot} something {hue} was hanging on a railing. It was {Name}'s {item}.",
          "In the lost property office they asked {Name} what {he} was looking for. \"A {hue} {item},\" {he} said. \"I had it as far as the {spot}.\""]),
    Plot("shopping", _shopping,
         ["{Name} was to bring {his} {relative} three things: {one}, {two} and {three}.",
          "\"{one}, {two} and {three}, and nothing else,\" said {his} {relative} and gave {Name} the basket.",
          "On the list that {Name} had from {his} {relative} stood {one}, {two} and {three}."],
         ["{Name} put {one}, {two} and {three} on the table, and {his} {relative} was content.",
          "\"Did you get everything?\" asked {his} {relative}. \"{one}, {two} and {three},\" said {Name}.",
          "At home {Name} unpacked the basket: there were {one}, and there were {two}; but {he} had forgotten the {three}."]),
    Plot("trades", _trades,
         ["{Friend} was a {trade}, and {Name} was a {other}.",
          "{Name} had become a {other}, but {his} old friend {Friend} was a {trade}.",
          "Of the two friends one, {Friend}, was a {trade}; the other, {Name}, was a {other}."],
         ["It was on that very evening that {trouble}. {Name} sent for {Friend}, the {trade}.",
          "Then {trouble}, and all that {Name} knew as a {other} was of no use. {Friend} was the {trade}.",
          "\"We need a {trade},\" somebody cried, for {trouble}. \"I know one,\" said {Name} and ran to {Friend}."]),
    Plot("letter", _letter,
         ["The letter from {goal} said only that {Name} should be at {spot} at {hour} on {day}.",
          "\"At {hour} on {day}, at {spot},\" {Name} read on the card from {goal}, and there was no name under it.",
          "{Name} was expected at {spot} on {day} at {hour}; more than that the telegram from {goal} did not say."],
         ["On {day}, at {hour}, {Name} stood at {spot} and looked about for somebody from {goal}.",
          "It struck {hour}. It was {day}, {he} was at {spot}, and a stranger came up to {Name}. \"I am from {goal},\" said the stranger.",
          "When {day} came, {Name} was at {spot} long before {hour}. Who had written from {goal}, {he} never learned."]),
    Plot("language", _language,
         ["{Name} had grown up in {country}.",
          "{Name} was born in {country} and had lived there until {he} was twenty.",
          "{country} was where {Name} had spent {his} childhood."],
         ["When the stranger asked whether anybody there spoke {language}, {Name} raised {his} hand.",
          "In {his} sleep {Name} still talked {language}.",
          "{Name} picked up the paper, read the foreign words and laughed. It was {language}, the language of {his} childhood in {country}."]),
    Plot("pet", _pet,
         ["The {hue} {animal} that followed {Name} home was soon called {pet}.",
          "{Name} had a {hue} {animal} called {pet}.",
          "{pet}, {Name}'s {hue} {animal}, had been missing since the morning."],
         ["\"{pet}!\" called {Name}, and the {hue} {animal} came running.",
          "There was a noise behind the door. It was the {hue} {animal}. \"{pet},\" said {Name}, \"there you are.\"",
          "A {hue} {animal} sat in the middle of the road, and nobody could pass. \"Come here, {pet},\" said {Name}."]),
    Plot("key", _key,
         ["Of the two keys that {Name} had inherited, the {metal} one opened the {lock}; the {other} one opened nothing.",
          "\"The {metal} key is for the {lock}, and the {other} one is for luck,\" they had told {Name}.",
          "{Name} had two keys, and it was the {metal} one that fitted the {lock}, not the {other} one."],
         ["At last {Name} stood before the {lock}. {He} took the {metal} key, turned it, and found the {treasure}.",
          "The {other} key did not fit, of course. {Name} tried the {metal} one, and the {lock} sprang open.",
          "\"Which key is it?\" they asked at the {lock}. \"The {metal} one,\" said {Name}."]),
    Plot("diet", _diet,
         ["{Name} could not eat {forbidden}; even a little of it made {him} ill.",
          "Since {his} childhood {Name} had not been able to bear {forbidden}.",
          "\"No {forbidden} for you,\" the doctor had told {Name}."],
         ["{Friend} had cooked, and there was {dish}. \"I am sorry,\" said {Name}, \"I cannot eat {forbidden}.\"",
          "For dinner they served {dish}. {Name} thanked {Friend} and took only the bread, because of the {forbidden}.",
          "\"Will you not try the {dish}?\" asked {Friend}. But {Name} never touched {forbidden}."]),
    Plot("count", _count,
         ["In the morning {Name} counted {number} {herd} in the field.",
          "{Name} had to look after {number} {herd}.",
          "There were {number} {herd} when {Name} shut the gate."],
         ["In the evening {Name} counted the {herd} again. {change}, so there were {later}.",
          "{change}: {Name} counted {later} {herd}.",
          "\"How many {herd} are there?\" somebody asked. {change}, and so {Name} said: \"{later}.\""]),
    Plot("clock", _clock,
         ["The clock {hall} had stopped at {time}, and {Name} was the only one who noticed.",
          "When {Name} looked up, the clock {hall} showed {time}.",
          "It was {time} by the clock {hall} when {Name} went by for the first time."],
         ["Hours later {Name} came past again. The clock {hall} still showed {time}.",
          "\"What is the time?\" somebody asked. \"{time},\" said {Name}, \"if you believe the clock {hall}.\"",
          "{Name} looked at the clock {hall}: {time}, as before. It must have stopped."]),
    Plot("password", _password,
         ["The word that opened {gate} was \"{word}\", and {Name} said it over and over.",
          "\"If anybody asks you at {gate}, say {word},\" they had told {Name}.",
          "{Name} knew the password for {gate}: it was \"{word}\"."],
         ["At {gate} a voice asked for the password. \"{word},\" whispered {Name}.",
          "\"{word},\" said {Name} at {gate}, and a bolt was drawn back.",
          "They stopped {Name} before {gate}. {He} bent forward and said one word: \"{word}\"."]),
    Plot("teller", _teller,
         ["\"I will tell you {story},\" said the {trade}.",
          "\"You want to know {story}?\" said the {trade}.",
          "\"Sit down,\" said the {trade}, \"and hear {story}."],
         ["And that is {story},\" said the {trade}.",
          "Now you know {story},\" the {trade} ended.",
          "So much for {story},\" said the {trade} and got up."],
         teller=True),
]  # fmt: skip
