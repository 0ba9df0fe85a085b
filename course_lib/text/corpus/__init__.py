"""From crawled pages to training documents: parse, normalise, filter, deduplicate, scrub, split, mix."""

from course_lib.text.corpus.card import data_card
from course_lib.text.corpus.dedup import (
    candidate_probability,
    clusters,
    exact_duplicates,
    fingerprint,
    jaccard,
    lsh,
    minhash,
    near_duplicates,
    shingles,
    similar_pairs,
)
from course_lib.text.corpus.document import Document, comparable_text, decode, words
from course_lib.text.corpus.languages import language
from course_lib.text.corpus.markup import drop_furniture, furniture, normalise, parse
from course_lib.text.corpus.personal import scrub
from course_lib.text.corpus.pipeline import Cleaned, Step, clean
from course_lib.text.corpus.quality import (
    PROSE_RULES,
    RULES,
    failed_rules,
    filter_documents,
    is_arithmetic,
    precision_recall,
)
from course_lib.text.corpus.sources import plays, read_text_folder
from course_lib.text.corpus.splits import contamination, mixture, ngrams, split

__all__ = [
    "PROSE_RULES", "RULES", "Cleaned", "Document", "Step", "candidate_probability", "clean",
    "clusters", "comparable_text", "contamination", "data_card", "decode", "drop_furniture",
    "exact_duplicates", "failed_rules", "filter_documents", "fingerprint", "furniture",
    "is_arithmetic", "jaccard", "language", "lsh", "minhash", "mixture", "near_duplicates",
    "ngrams", "normalise", "parse", "plays", "precision_recall", "read_text_folder", "scrub",
    "shingles", "similar_pairs", "split", "words",
]  # fmt: skip
