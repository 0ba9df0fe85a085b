"""From crawled pages to training documents: parse, filter, deduplicate, scrub, split, mix."""

from course_lib.text.corpus.card import data_card
from course_lib.text.corpus.dedup import (
    candidate_probability,
    duplicate_clusters,
    exact_duplicates,
    jaccard,
    lsh_candidates,
    minhash,
    near_duplicates,
    shingles,
    similar_pairs,
    text_fingerprint,
)
from course_lib.text.corpus.document import Document, comparable_text, decode_utf8, split_words
from course_lib.text.corpus.languages import detect_language
from course_lib.text.corpus.markup import (
    drop_repeated_lines,
    normalize_text,
    parse_html,
    repeated_lines,
)
from course_lib.text.corpus.personal import scrub_personal_data
from course_lib.text.corpus.pipeline import CleanedCorpus, CleaningStep, clean_corpus
from course_lib.text.corpus.quality import (
    PROSE_RULES,
    QUALITY_RULES,
    failed_rules,
    filter_documents,
    is_arithmetic,
    precision_recall,
)
from course_lib.text.corpus.sources import play_documents, read_text_folder
from course_lib.text.corpus.splits import (
    draw_mixture,
    find_contamination,
    split_by_url,
    token_ngrams,
)

__all__ = [
    "PROSE_RULES",
    "QUALITY_RULES",
    "CleanedCorpus",
    "Document",
    "CleaningStep",
    "candidate_probability",
    "clean_corpus",
    "duplicate_clusters",
    "comparable_text",
    "find_contamination",
    "data_card",
    "decode_utf8",
    "drop_repeated_lines",
    "exact_duplicates",
    "failed_rules",
    "filter_documents",
    "text_fingerprint",
    "repeated_lines",
    "is_arithmetic",
    "jaccard",
    "detect_language",
    "lsh_candidates",
    "minhash",
    "draw_mixture",
    "near_duplicates",
    "token_ngrams",
    "normalize_text",
    "parse_html",
    "play_documents",
    "precision_recall",
    "read_text_folder",
    "scrub_personal_data",
    "shingles",
    "similar_pairs",
    "split_by_url",
    "split_words",
]
