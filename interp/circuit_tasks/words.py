"""The words that tasks are made of: common ones, which most tokenizers have whole."""

WOMEN = (
    "Mary", "Anna", "Laura", "Sarah", "Emma", "Alice", "Julia", "Rachel", "Lisa", "Emily", "Maria",
    "Helen", "Susan", "Karen", "Linda", "Nancy", "Rebecca", "Jessica", "Elizabeth", "Catherine",
    "Hannah", "Sophie", "Claire", "Amy",
)  # fmt: skip
MEN = (
    "John", "Tom", "James", "Robert", "David", "Michael", "Peter", "Paul", "Mark", "Daniel", "Thomas",
    "George", "Henry", "Jack", "William", "Richard", "Charles", "Joseph", "Edward", "Frank", "Steven",
    "Kevin", "Brian", "Simon",
)  # fmt: skip
PLACES = ("store", "school", "park", "station", "office", "hospital", "market", "library", "beach")
OBJECTS = ("book", "letter", "drink", "ring", "key", "ball", "gift", "map", "picture")

#: Nouns that a sentence is about, singular and plural, and what stands near them.
NOUNS = (
    ("key", "keys"), ("book", "books"), ("letter", "letters"), ("picture", "pictures"),
    ("friend", "friends"), ("doctor", "doctors"), ("teacher", "teachers"), ("student", "students"),
    ("farmer", "farmers"), ("driver", "drivers"), ("author", "authors"), ("pilot", "pilots"),
    ("chair", "chairs"), ("table", "tables"), ("house", "houses"), ("tree", "trees"), ("dog", "dogs"),
    ("bird", "birds"), ("horse", "horses"), ("car", "cars"), ("boat", "boats"), ("phone", "phones"),
)  # fmt: skip
NEARBY = ("near the door", "behind the wall", "by the river", "in the garden", "next to the road",
          "across the street", "under the bridge", "at the corner")  # fmt: skip

#: Short nouns without meaning for each other, for sequences that are said twice.
FILLERS = (
    "table", "river", "stone", "music", "paper", "light", "window", "garden", "bread", "winter",
    "horse", "metal", "glass", "cloud", "story", "street", "dream", "field", "train", "voice",
    "bridge", "island", "coffee", "summer", "forest", "engine", "finger", "market", "mirror", "silver",
)  # fmt: skip

#: Names of variables, and words that a docstring says of them.
VARIABLES = (
    "name", "file", "size", "text", "value", "data", "path", "key", "user", "time", "state", "index",
    "label", "image", "model", "table", "level", "color", "group", "order", "page", "list", "port",
    "node", "count", "field", "event", "query", "token", "result",
)  # fmt: skip
REMARKS = (
    "the first part", "a short note", "set by hand", "from the form", "kept for later", "as it was",
    "the usual one", "read once", "not the last",
)  # fmt: skip

COLOURS = ("red", "blue", "green", "yellow", "black", "white", "brown", "pink", "purple", "orange")
THINGS = ("box", "cup", "hat", "door", "bag", "car", "ball", "chair", "coat", "lamp", "pen", "shirt")

#: What lasts from one year to another.
EVENTS = ("war", "strike", "journey", "trial", "project", "festival", "siege", "debate", "expedition",
          "drought", "campaign", "marriage")  # fmt: skip
