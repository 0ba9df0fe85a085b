"""The world that the small web talks about: who lives where, and what things are made of.

A few facts are of the real one. The tables are fixed. Whatever the seed, all pages tell of the same
world, so what is read on one page is true on the others, and a model can learn it.
"""

from typing import NamedTuple


class Person(NamedTuple):
    name: str
    zh: str
    species: str
    pronoun: str
    home: str
    food: str
    colour: str
    friend: str


class Place(NamedTuple):
    name: str
    zh: str
    inside: str  # "in", "at" or "by"
    weather: str
    food: str  # what people eat there


class Thing(NamedTuple):
    name: str
    zh: str
    material: str
    price: int  # in coins
    shop: str  # the place that sells it


WORLD_PEOPLE = {
    person.name: person
    for person in (
        Person("Tom", "汤姆", "boy", "he", "farm", "bread", "red", "Lily"),
        Person("Lily", "莉莉", "girl", "she", "garden", "honey", "yellow", "Tom"),
        Person("Ben", "小本", "bear", "he", "forest", "honey", "brown", "Mia"),
        Person("Mia", "米娅", "mouse", "she", "castle", "cheese", "white", "Ben"),
        Person("Max", "马克", "dog", "he", "beach", "fish", "blue", "Zoë"),
        Person("Zoë", "佐伊", "cat", "she", "café", "fish", "black", "Max"),
        Person("Sam", "山姆", "frog", "he", "river", "soup", "green", "Nora"),
        Person("Nora", "诺拉", "duck", "she", "river", "bread", "white", "Sam"),
        Person("Leo", "里奥", "fox", "he", "cave", "cheese", "red", "Ruby"),
        Person("Ruby", "露比", "rabbit", "she", "garden", "apples", "pink", "Leo"),
        Person("Otto", "奥托", "owl", "he", "castle", "nuts", "brown", "Ida"),
        Person("Ida", "艾达", "hen", "she", "farm", "nuts", "yellow", "Otto"),
        Person("Hugo", "雨果", "horse", "he", "market", "apples", "black", "Eva"),
        Person("Eva", "伊娃", "girl", "she", "school", "cake", "blue", "Hugo"),
        Person("Finn", "芬恩", "boy", "he", "school", "soup", "green", "Anna"),
        Person("Anna", "安娜", "bear", "she", "cave", "cake", "pink", "Finn"),
    )
}

# In this order the places lie around a lake: each is next to the one before and the one after.
WORLD_PLACES = {
    place.name: place
    for place in (
        Place("forest", "森林", "in", "foggy", "nuts"),
        Place("river", "河边", "by", "cloudy", "fish"),
        Place("farm", "农场", "on", "sunny", "bread"),
        Place("garden", "花园", "in", "sunny", "honey"),
        Place("school", "学校", "at", "rainy", "apples"),
        Place("market", "市场", "at", "cloudy", "cheese"),
        Place("café", "咖啡馆", "in", "warm", "cake"),
        Place("beach", "海滩", "on", "windy", "fish"),
        Place("cave", "山洞", "in", "cold", "soup"),
        Place("castle", "城堡", "in", "snowy", "cheese"),
    )
}

WORLD_THINGS = {
    thing.name: thing
    for thing in (
        Thing("kite", "风筝", "paper", 3, "beach"),
        Thing("ball", "球", "wool", 2, "school"),
        Thing("lamp", "灯", "glass", 7, "castle"),
        Thing("hat", "帽子", "wool", 5, "market"),
        Thing("boat", "小船", "wood", 9, "river"),
        Thing("drum", "鼓", "wood", 6, "school"),
        Thing("book", "书", "paper", 4, "school"),
        Thing("ring", "戒指", "gold", 9, "castle"),
        Thing("bell", "铃铛", "iron", 4, "farm"),
        Thing("cup", "杯子", "clay", 2, "café"),
        Thing("coat", "外套", "wool", 8, "market"),
        Thing("key", "钥匙", "iron", 3, "castle"),
        Thing("box", "盒子", "wood", 3, "farm"),
        Thing("doll", "娃娃", "wool", 5, "garden"),
        Thing("clock", "钟", "gold", 8, "market"),
        Thing("flute", "笛子", "wood", 6, "café"),
        Thing("mirror", "镜子", "glass", 7, "cave"),
        Thing("bowl", "碗", "clay", 2, "forest"),
    )
}

PERSON_NAMES = tuple(WORLD_PEOPLE)
PLACE_NAMES = tuple(WORLD_PLACES)
THING_NAMES = tuple(WORLD_THINGS)
COLOUR_WORDS = ("red", "blue", "green", "yellow", "white", "black", "pink", "brown")
NUMBER_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

# Few words, each seen often: with 16 mood words to a side a small model never learnt which side a
# word is on.
MOOD_WORDS = {
    "good": ("happy", "glad", "cheerful", "proud", "merry", "pleased", "delighted", "thankful"),
    "bad": ("sad", "angry", "upset", "lonely", "worried", "grumpy", "gloomy", "miserable"),
}
MOOD_REACTIONS = {
    "good": ("smiled", "laughed", "danced", "sang", "clapped", "cheered"),
    "bad": ("cried", "sighed", "frowned", "wept", "groaned", "sobbed"),
}
CLOSING_VERDICTS = {
    "good": ("lovely", "wonderful", "sweet", "splendid", "perfect", "fine"),
    "bad": ("awful", "ugly", "dirty", "nasty", "terrible", "useless"),
}

# The real world, in a few facts.
CAPITAL_CITIES = {
    "France": "Paris",
    "China": "Beijing",
    "Japan": "Tokyo",
    "Italy": "Rome",
    "Spain": "Madrid",
    "Egypt": "Cairo",
    "Peru": "Lima",
    "Cuba": "Havana",
    "Kenya": "Nairobi",
    "Norway": "Oslo",
    "Greece": "Athens",
    "Russia": "Moscow",
}
COLOUR_OF = {
    "sky": "blue",
    "grass": "green",
    "snow": "white",
    "coal": "black",
    "blood": "red",
    "sun": "yellow",
}
SOUND_OF = {
    "cat": "meow",
    "dog": "woof",
    "cow": "moo",
    "duck": "quack",
    "sheep": "baa",
    "pig": "oink",
}
LEGS_OF = {"spider": 8, "ant": 6, "dog": 4, "duck": 2, "horse": 4, "fish": 0}

CHINESE_WORDS = {
    "boy": "男孩",
    "girl": "女孩",
    "bear": "熊",
    "mouse": "老鼠",
    "dog": "狗",
    "cat": "猫",
    "frog": "青蛙",
    "duck": "鸭子",
    "fox": "狐狸",
    "rabbit": "兔子",
    "owl": "猫头鹰",
    "hen": "母鸡",
    "horse": "马",
    "bread": "面包",
    "honey": "蜂蜜",
    "cheese": "奶酪",
    "fish": "鱼",
    "soup": "汤",
    "apples": "苹果",
    "nuts": "坚果",
    "cake": "蛋糕",
    "red": "红色",
    "blue": "蓝色",
    "green": "绿色",
    "yellow": "黄色",
    "white": "白色",
    "black": "黑色",
    "pink": "粉色",
    "brown": "棕色",
    "paper": "纸",
    "wool": "羊毛",
    "glass": "玻璃",
    "wood": "木头",
    "gold": "金子",
    "iron": "铁",
    "clay": "黏土",
    "foggy": "有雾",
    "cloudy": "多云",
    "sunny": "晴朗",
    "rainy": "下雨",
    "warm": "暖和",
    "windy": "刮风",
    "cold": "寒冷",
    "snowy": "下雪",
    "happy": "高兴",
    "glad": "开心",
    "cheerful": "快乐",
    "proud": "得意",
    "merry": "欢喜",
    "pleased": "满意",
    "delighted": "欢乐",
    "thankful": "感激",
    "sad": "难过",
    "angry": "生气",
    "upset": "伤心",
    "lonely": "孤单",
    "worried": "担心",
    "grumpy": "烦恼",
    "gloomy": "沮丧",
    "miserable": "痛苦",
    "smiled": "笑了",
    "laughed": "大笑起来",
    "danced": "跳起舞来",
    "sang": "唱起歌来",
    "clapped": "拍起手来",
    "cheered": "欢呼起来",
    "cried": "哭了",
    "sighed": "叹了口气",
    "frowned": "皱起眉头",
    "wept": "流下眼泪",
    "groaned": "呻吟起来",
    "sobbed": "抽泣起来",
    "sky": "天空",
    "grass": "草",
    "snow": "雪",
    "coal": "煤",
    "blood": "血",
    "sun": "太阳",
    "France": "法国",
    "China": "中国",
    "Japan": "日本",
    "Italy": "意大利",
    "Spain": "西班牙",
    "Egypt": "埃及",
    "Peru": "秘鲁",
    "Cuba": "古巴",
    "Kenya": "肯尼亚",
    "Norway": "挪威",
    "Greece": "希腊",
    "Russia": "俄罗斯",
    "Paris": "巴黎",
    "Beijing": "北京",
    "Tokyo": "东京",
    "Rome": "罗马",
    "Madrid": "马德里",
    "Cairo": "开罗",
    "Lima": "利马",
    "Havana": "哈瓦那",
    "Nairobi": "内罗毕",
    "Oslo": "奥斯陆",
    "Athens": "雅典",
    "Moscow": "莫斯科",
    "two": "两",
    "three": "三",
    "four": "四",
    "five": "五",
    "six": "六",
    "seven": "七",
    "eight": "八",
    "nine": "九",
} | {
    row.name: row.zh
    for table in (WORLD_PEOPLE, WORLD_PLACES, WORLD_THINGS)
    for row in table.values()
}


class AuthorHabits(NamedTuple):
    """The habits by which a reader can tell who wrote a page."""

    name: str
    opening: str  # of a tale
    ending: str
    intensifier: str
    time_first: bool  # "In the morning she went" or "She went in the morning"
    greeting: str
    zh_opening: str
    zh_ending: str
    zh_intensifier: str


ALL_AUTHORS = (
    AuthorHabits("ada", "Once upon a time there was", "The end.", "very", True, "Hello",
           "从前有", "故事讲完了。", "很"),
    AuthorHabits("bruno", "This is the story of", "And that is all!", "so", False, "Hey",
           "这个故事讲的是", "就是这样！", "好"),
    AuthorHabits("chen", "Long ago there lived", "So they say.", "quite", True, "Good day",
           "很久以前，有", "大家都这么说。", "十分"),
    AuthorHabits("dora", "Let me tell you about", "Good night.", "really", False, "Hi",
           "我来讲讲", "晚安。", "真的很"),
)  # fmt: skip


# what a word of the world names
WORD_CLASSES = {
    "person": PERSON_NAMES,
    "place": PLACE_NAMES,
    "thing": THING_NAMES,
    "colour": COLOUR_WORDS,
    "food": tuple(sorted({person.food for person in WORLD_PEOPLE.values()})),
    "species": tuple(sorted({person.species for person in WORLD_PEOPLE.values()})),
    "mood": (*MOOD_WORDS["good"], *MOOD_WORDS["bad"]),
    "reaction": (*MOOD_REACTIONS["good"], *MOOD_REACTIONS["bad"]),
}


def with_article(noun: str) -> str:
    """The noun with its article: 'a fox', 'an owl'."""
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def place_phrase(place: str) -> str:
    """'in the forest', 'on the farm'."""
    return f"{WORLD_PLACES[place].inside} the {place}"


def neighbouring_places(place: str) -> tuple[str, str]:
    """The two places beside this one on the shore of the lake."""
    i = PLACE_NAMES.index(place)
    return PLACE_NAMES[i - 1], PLACE_NAMES[(i + 1) % len(PLACE_NAMES)]
