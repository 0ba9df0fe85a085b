"""Which language is a text in: by its script where that decides, else by letter trigrams."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from functools import cache

from course_lib.text.corpus.document import require_text

ANY_LETTER = re.compile(r"[^\W\d_]")
HAN_CHARACTER = re.compile(r"[\u3400-\u9fff]")
LATIN_LETTER = re.compile(r"[A-Za-z\u00c0-\u024f]")

# A few everyday sentences each are enough to tell these apart.
LANGUAGE_SAMPLES = {
    "en": (
        "The old man went down to the river every morning before the sun came up. He had a small"
        " boat with a red sail, and he knew where the fish would be. When the weather was bad he"
        " stayed at home and mended his nets, while his wife told the children stories about what"
        " had happened in the village long ago. What would you do if you were there? She thinks"
        " that they should have asked him. This is not the first time, and it will not be the last."
    ),
    "de": (
        "Der alte Mann ging jeden Morgen zum Fluss hinunter, bevor die Sonne aufging. Er hatte ein"
        " kleines Boot mit einem roten Segel und wusste, wo die Fische sein würden. Wenn das Wetter"
        " schlecht war, blieb er zu Hause und flickte seine Netze, während seine Frau den Kindern"
        " Geschichten erzählte, die vor langer Zeit im Dorf geschehen waren. Was würdest du tun,"
        " wenn du dort wärst? Sie denkt, dass man ihn hätte fragen sollen. Das ist nicht das erste"
        " Mal."
    ),
    "fr": (
        "Le vieil homme descendait chaque matin à la rivière avant que le soleil se lève. Il avait"
        " un petit bateau avec une voile rouge, et il savait où seraient les poissons. Quand il"
        " faisait mauvais temps, il restait à la maison pour réparer ses filets, pendant que sa"
        " femme racontait aux enfants des histoires qui s'étaient passées dans le village il y a"
        " longtemps. Que ferais-tu si tu étais là ? Elle pense qu'on aurait dû lui demander. C'est"
        " tout."
    ),
    "es": (
        "El viejo bajaba al río todas las mañanas antes de que saliera el sol. Tenía un barco"
        " pequeño con una vela roja y sabía dónde estarían los peces. Cuando hacía mal tiempo se"
        " quedaba en casa y arreglaba sus redes, mientras su mujer contaba a los niños historias"
        " que habían pasado en el pueblo hace mucho tiempo. ¿Qué harías tú si estuvieras allí? Ella"
        " piensa que tendrían que haberle preguntado. No es la primera vez ni será la última."
    ),
}


def letter_trigrams(text: str) -> list[str]:
    """Runs of three characters of the lower-case words and the spaces round them.

    `"it is"` starts with `" it"`.
    """
    plain = " " + " ".join(re.findall(r"[^\W\d_]+", text.lower())) + " "
    return [plain[i : i + 3] for i in range(len(plain) - 2)]


@cache
def trigram_log_probs(code: str) -> dict[str, float]:
    """Log-probability of each trigram in a language's sample, one added to every count.

    `""` stands for unseen ones.
    """
    counts = Counter(letter_trigrams(LANGUAGE_SAMPLES[code]))
    total = counts.total() + 10_000  # about as many trigrams could have come
    return {gram: math.log((n + 1) / total) for gram, n in counts.items()} | {
        "": math.log(1 / total)
    }


def detect_language(text: str, look_at: int = 300) -> str:
    """The code of the language: `zh` by its script, `en`, `de`, `fr`, `es` by trigrams, or `und`.

    `und` (undetermined) is a text without letters, or with most of them in another script. Only the
    first `look_at` characters count. Source: Cavnar and Trenkle 1994 (trigram profiles), with
    probabilities instead of ranks.

    >>> detect_language("Where were you when it rained?")
    'en'
    >>> detect_language("你在哪里"), detect_language("7+5=12")
    ('zh', 'und')
    """
    require_text(text)
    start = unicodedata.normalize("NFC", text[:look_at])  # an accent by itself is no letter
    n_letters, n_han = len(ANY_LETTER.findall(start)), len(HAN_CHARACTER.findall(start))
    if 2 * n_han > n_letters:
        return "zh"
    if 2 * len(LATIN_LETTER.findall(start)) <= n_letters:
        return "und"
    grams = letter_trigrams(start)
    return max(
        LANGUAGE_SAMPLES, key=lambda code: trigram_log_likelihood(grams, trigram_log_probs(code))
    )


def trigram_log_likelihood(grams: list[str], known: dict[str, float]) -> float:
    """How likely a language is to write these trigrams: the sum of their log-probabilities."""
    unseen = known[""]
    return sum([known.get(gram, unseen) for gram in grams])
