"""What is reviewed: facts that judge nothing, and the sentences that do."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Subject:
    """A kind of thing: what it is called, what can be said of it without judging, and verdicts
    that only fit it, by label."""

    noun: str
    facts: list[str]
    verdicts: dict[str, list[str]]


@dataclass(frozen=True)
class Side:
    """One of the two labels: its adjectives, its own sentences and their lists."""

    adjectives: list[str]
    verdicts: list[str]
    lists: dict[str, list[str]] = field(default_factory=dict)


# {good} is the reviewer's own side: of a negative review, its negative adjectives.
VERDICTS = [
    "All in all {it} was {good}.",
    "To put it plainly, {it} was {good} and {good}.",
    "What a {good} experience!",
    "I cannot remember anything so {good}.",
    "There is only one word for {it}: {good}.",
    "I found {it} {good} from beginning to end.",
    "{it} was {good}, and that is the long and the short of it.",
    "If you ask me, {it} was truly {good}.",
    "The word for such a thing is {good}, and I do not say that often.",
    "I had expected {it} to be {bad}, but it turned out to be {good}.",
    "{it} was anything but {bad}.",
    "I would not call {it} {bad} at all; {good} is the word.",
]

POSITIVE = Side(
    adjectives=[
        "wonderful", "excellent", "delightful", "superb", "splendid", "marvellous", "first-rate",
        "charming", "brilliant", "lovely", "outstanding", "magnificent", "impressive",
        "enjoyable", "perfect", "remarkable", "admirable", "pleasant", "great", "fantastic",
    ],
    verdicts=[
        "I loved it and would {again} tomorrow.",
        "I recommend {it} to {everyone} without hesitation.",
        "It was worth {price}.",
        "I have not been so {happy} in years.",
        "If I could, I would give it six stars out of five.",
        "I did not regret it for a moment.",
        "We left {happy} and full of praise.",
        "I could find nothing to complain about, and I tried.",
        "Do not miss it!",
        "My expectations were high, and they were surpassed.",
    ],
    lists={
        "again": ["do it again", "choose it again", "pay for it again", "start again"],
        "everyone": ["everyone", "all my friends", "anybody who asks", "old and young"],
        "price": ["every penny", "the money twice over", "the long wait", "all the trouble"],
        "happy": ["happy", "satisfied", "delighted", "contented", "thrilled"],
    },
)  # fmt: skip

NEGATIVE = Side(
    adjectives=[
        "terrible", "awful", "dreadful", "disappointing", "miserable", "poor", "second-rate",
        "boring", "horrible", "unpleasant", "shabby", "pathetic", "annoying", "useless",
        "appalling", "mediocre", "dismal", "worthless", "bad", "ghastly",
    ],
    verdicts=[
        "I hated it and would never {again}.",
        "I can recommend {it} to {nobody}.",
        "It was not worth {price}.",
        "I have not been so {sorry} in years.",
        "If I could, I would give it no star at all.",
        "I regretted it from the first moment.",
        "We left {sorry} and shaking our heads.",
        "I could find nothing to praise, and I tried.",
        "Stay away from it!",
        "My expectations were low, and they were not even met.",
    ],
    lists={
        "again": ["do it again", "choose it again", "pay for it again", "start again"],
        "nobody": ["nobody", "none of my friends", "no one who asks", "neither old nor young"],
        "price": ["a penny", "half the money", "the long wait", "all the trouble"],
        "sorry": ["sorry", "disappointed", "angry", "bored", "annoyed"],
    },
)  # fmt: skip

# Sentences without a judgement that fit any subject.
COMMON = [
    "I live near {town} and came by bus.",
    "It was {topic} that everybody talked about in those days.",
    "A {old} {person} beside me had {thing} with them.",
    "I am writing this on the train back to {town}.",
    "My sister had told me about it in the spring.",
    "It was a Tuesday, and it was raining a little.",
    "We were {few} people altogether.",
    "This is my second review; the first one was about a pair of shoes.",
    "I paid by card and kept the receipt.",
    "My neighbour, a {who}, came along.",
    "On the way I had {food} and {drink}.",
    "Somewhere one could hear {sound}.",
    "I took {few} photographs for my mother.",
    "The whole thing was my uncle's idea.",
    "I had read about it in a newspaper from {town}.",
    "It took {while} to find a place for the car.",
    "There is a {tree} in front of the entrance, and a bench.",
    "I had a {colour} coat on, since it was November.",
    "Half of the people around me seemed to come from {town}.",
    "I do not usually write such things.",
    "My brother is a {who} and sees such matters with other eyes.",
    "The number of the bus is twenty-seven, in case you need it.",
    "Later that week I was in {town} on business.",
    "It had been on my list since the summer.",
    "The walls are {colour}, the doors are {colour}.",
    "They have been there since 1987, as a sign by the door says.",
]

SUBJECTS = {
    "film": Subject(
        "the film",
        [
            "The film lasts a hundred and ten minutes.",
            "It was shot in {town} and in a studio near the coast.",
            "The story begins with a {who} who finds a {kept}.",
            "In the second part the scene changes to {town}.",
            "The main part is played by an actor who used to be a {who}.",
            "There are {few} songs in it, among them {tune}.",
            "The camera stays in one room for {while}.",
            "We saw it in the small cinema behind the station.",
            "The director made a film about {topic} before.",
            "Most of it is in black and white, the ending is in colour.",
            "A {bird} appears in the first and in the last shot.",
            "The dialogue was written by a {who} from {town}.",
            "It is the second film of a series of four.",
            "The cinema was about half full.",
            "There were {few} advertisements before it began.",
            "The film is set in the year 1931.",
            "The villain wears a {colour} suit and plays {game}.",
        ],
        {
            "positive": [
                "The two hours flew by, and I laughed and wept.",
                "The actors play as if their lives depended on it, and one believes every word.",
                "I sat there with my mouth open until the lights came on, and then I clapped.",
                "Nobody in the row looked at the clock even once, so gripping was it.",
            ],
            "negative": [
                "The two hours would not end, and I yawned and sighed.",
                "The actors play as if they were reading a telephone book, and one believes no word.",
                "I sat there with my eyes closed until the lights came on, and then I fled.",
                "Everybody in the row looked at the clock all the time, so dull was it.",
            ],
        },
    ),
    "book": Subject(
        "the book",
        [
            "The book has three hundred and forty pages.",
            "It is about a {who} and a {who} who share a house in {town}.",
            "The chapters are named after trees, from {tree} to {tree}.",
            "The author lives in {town} and works as a {who}.",
            "The first part is told by a child, the second by a {who}.",
            "There is a map of {town} inside the cover.",
            "I read it on the train and in the evenings.",
            "The cover is {colour} and shows a {bird}.",
            "It was translated by somebody who also translates plays.",
            "At one point {few} pages deal with {topic}.",
            "The print is of the usual size.",
            "In the fourth chapter they travel to {town}.",
            "It first came out in 1962 and has been printed again.",
            "A {who} with {thing} turns up again and again.",
            "Between the chapters there are letters.",
            "The library has two copies of it.",
        ],
        {
            "positive": [
                "I could not put it down and read until the morning.",
                "Every sentence sits, and I underlined half of it.",
                "I have already given it to three friends, and all three thanked me.",
                "When it was over I was sad that there was no more of it.",
            ],
            "negative": [
                "I could not pick it up without falling asleep by the second page.",
                "Hardly a sentence sits, and I crossed out half of it.",
                "I have already tried to give it to three friends, and all three gave it back.",
                "When it was over I was glad that there was no more of it.",
            ],
        },
    ),
    "hotel": Subject(
        "the hotel",
        [
            "The hotel stands on a corner, opposite a {who}'s shop.",
            "It has five floors and forty rooms.",
            "Our room was on the third floor and looked out on a {tree}.",
            "Breakfast is from seven to ten.",
            "There were {few} chairs in the lobby and a picture of {town}.",
            "The curtains were {colour}, and so was the carpet.",
            "We stayed for {few} nights in October.",
            "At the reception sat a {old} {person} with a book.",
            "The lift goes as far as the fourth floor.",
            "For breakfast there was {food}, and {drink} to go with it.",
            "From the window one can see the road to {town}.",
            "The key hangs on a piece of wood with a number.",
            "In the next room lived a {who} from {town}.",
            "There is a cellar where guests play {game}.",
            "The station is {distance} away.",
            "Bicycles can be left in the yard.",
        ],
        {
            "positive": [
                "The bed was so comfortable that we stayed two nights longer.",
                "The staff read every wish from our lips, and smiled all the while.",
                "Everything was spotless, down to the last corner.",
                "We have already booked for next year.",
            ],
            "negative": [
                "The bed was so uncomfortable that we left two nights early.",
                "The staff read the newspaper while we waited, and scowled all the while.",
                "Everything was filthy, down to the last corner.",
                "We have already asked for our money back.",
            ],
        },
    ),
    "restaurant": Subject(
        "the restaurant",
        [
            "The restaurant has twelve tables and a terrace.",
            "We sat near the window, beside a {old} {person} with a newspaper.",
            "I ordered {food}, my wife {food}.",
            "The menu is written on a board in {colour} chalk.",
            "To drink we had {drink}.",
            "The cook was once a {who} in {town}.",
            "Between the courses they play {tune}.",
            "It opens at six and closes at eleven.",
            "The tablecloths are {colour}.",
            "We waited for {while} between the first and the second course.",
            "On the wall hangs a picture of a {bird}.",
            "At the next table they were talking about {topic}.",
            "Dessert is included in the price.",
            "There was a birthday party of {few} people.",
            "It used to be a {who}'s workshop.",
            "The kitchen can be seen through a pane of glass.",
        ],
        {
            "positive": [
                "The soup alone was worth the journey, and I cleaned my plate.",
                "I asked for a second helping, and then for the recipe.",
                "The waiter was kindness itself and forgot nothing.",
                "My stomach still thanks me.",
            ],
            "negative": [
                "The soup alone spoiled the evening, and I pushed my plate away.",
                "I asked for the bill, and then for fresh air.",
                "The waiter was rudeness itself and forgot everything.",
                "My stomach has still not forgiven me.",
            ],
        },
    ),
    "concert": Subject(
        "the concert",
        [
            "The concert began at half past seven.",
            "They played {few} pieces before the interval.",
            "The hall has six hundred seats, most of them {colour}.",
            "The conductor comes from {town}.",
            "The soloist used to be a {who}, says the programme.",
            "As an encore they played {tune}.",
            "I sat in the ninth row behind a {old} {person}.",
            "In the interval there was {drink}.",
            "The second half was longer than the first.",
            "Two of the pieces were new.",
            "The choir stood behind the orchestra.",
            "It was recorded for the radio.",
            "The piano had been brought from {town}.",
            "The programme had a text about {topic}.",
            "There were {few} violins and one harp.",
            "It ended at about ten.",
        ],
        {
            "positive": [
                "I had tears in my eyes, and the applause would not end.",
                "I could have listened all night.",
                "Every note was in its place, and the hall held its breath.",
                "I went home singing.",
            ],
            "negative": [
                "I had cotton wool in my ears, and the applause was over at once.",
                "I could hardly wait for the end.",
                "Hardly a note was in its place, and half the hall walked out.",
                "I went home with a headache.",
            ],
        },
    ),
    "museum": Subject(
        "the museum",
        [
            "The museum is in an old factory near the canal.",
            "There are eleven rooms on two floors.",
            "The first room is about {topic}.",
            "In the second room stands a {who}'s cart from {town}.",
            "A {old} {person} tore our tickets in two.",
            "We were there for {while}.",
            "One part is devoted to the {tree} and its uses.",
            "There is a model of {town} made of {fabric} and wire.",
            "In the basement one can see how people used to play {game}.",
            "A school class with {few} teachers was there too.",
            "The labels are in two languages.",
            "A stuffed {bird} hangs from the ceiling.",
            "The shop sells postcards and pencils.",
            "It is closed on Mondays.",
            "Coats and bags have to be left at the entrance.",
            "The newest part was opened by the mayor of {town}.",
        ],
        {
            "positive": [
                "The children did not want to leave, and neither did I.",
                "I learned more in an hour than in a year of school.",
                "Each room was more beautiful than the one before.",
                "I bought a season ticket on the way out.",
            ],
            "negative": [
                "The children wanted to leave at once, and so did I.",
                "I learned less in an hour than from the bus timetable.",
                "Each room was duller than the one before.",
                "I wanted my ticket refunded on the way out.",
            ],
        },
    ),
    "coffee machine": Subject(
        "the coffee machine",
        [
            "The machine holds a litre and a half of water.",
            "It is {colour} and about as wide as a toaster.",
            "It came in a box with {few} cups and a brush.",
            "The manual has forty pages, in six languages.",
            "I put it between the bread bin and the radio.",
            "The plug is at the back, the switch on the side.",
            "It takes beans as well as powder.",
            "It is made in {town}.",
            "A light turns {colour} when the water is hot.",
            "My old one had served for nine years.",
            "It makes one or two cups at a time.",
            "The parcel was brought by a {old} {person}.",
            "Every two months it wants to be descaled.",
            "The guarantee is for two years.",
            "It sounds a bit like {sound}.",
            "There is a larger model for offices.",
        ],
        {
            "positive": [
                "The coffee tastes better than in any café, and it has never let me down.",
                "I get up earlier just to use it.",
                "I bought a second one for my parents at once.",
                "It works like a dream, day after day.",
            ],
            "negative": [
                "The coffee tastes like dishwater, and it has let me down every other day.",
                "I get up earlier just to repair it.",
                "I sent it back to the shop at once.",
                "It broke on the third day, and then again on the fifth.",
            ],
        },
    ),
    "boots": Subject(
        "this pair of boots",
        [
            "The boots are made of leather and {fabric}.",
            "They come in {colour} and in {colour}.",
            "I take size forty-two in most makes.",
            "The laces are a metre and a half long.",
            "I wore them on a walk from {town} to {town}.",
            "In the box there was a leaflet about {topic}.",
            "The soles have a pattern like the leaf of a {tree}.",
            "A {who} in {town} sold them to me.",
            "They weigh six hundred grams each.",
            "I keep them by the stove, next to a {old} umbrella.",
            "My {colour} trousers go over the top.",
            "There are nine hooks on each side.",
            "I ordered them on a Sunday, and they came on Thursday.",
            "The lining is {colour}.",
            "Before that I had a pair from {town}.",
            "One can have them resoled.",
        ],
        {
            "positive": [
                "My feet have never been so dry and warm.",
                "After a thousand miles they still look like new.",
                "I forget that I have them on, so well do they fit.",
                "I would buy them again with my eyes closed.",
            ],
            "negative": [
                "My feet have never been so wet and cold.",
                "After ten miles they looked like rags.",
                "I cannot forget for a second that I have them on, so badly do they fit.",
                "I would not take them again as a present.",
            ],
        },
    ),
}
