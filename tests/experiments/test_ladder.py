"""The ladder: the texts are apart, one function scores anything, what is stored is what comes
out."""

import math

import pytest
import torch

from course_lib.experiments import ladder
from course_lib.inference import baselines, evaluate
from course_lib.models.gpt2 import GPT2, GPT2Settings
from course_lib.text.chat import THINK

NAMES = ("plays", "small web")


@pytest.mark.parametrize("name", NAMES)
def test_held_out_documents_are_not_among_those_to_learn_from(name):
    corpus = ladder.ladder_corpus(name)
    assert not set(corpus.held_out) & set(corpus.documents)
    assert sum(len(text.encode()) for text in corpus.documents) > 2_900_000
    assert 100_000 <= sum(len(text.encode()) for text in corpus.held_out) < 250_000


def test_the_held_out_plays_are_the_two_of_the_first_lesson():
    titles = [text.splitlines()[0] for text in ladder.ladder_corpus("plays").held_out]
    assert titles == ["THE TEMPEST", "TWELFTH NIGHT; OR, WHAT YOU WILL"]
    assert not any(
        "SONNETS" in text[:100].upper() for text in ladder.ladder_corpus("plays").documents
    )


@pytest.mark.parametrize(("name", "vocab_size"), [("plays", 2048), ("small web", 512)])
def test_tokens_are_the_documents_each_with_its_end(name, vocab_size):
    corpus = ladder.ladder_corpus(name)
    end = corpus.tokenizer.special_tokens["<|endoftext|>"]
    assert corpus.tokenizer.n_vocab == vocab_size
    assert (corpus.tokens == end).sum() == len(corpus.documents)
    first = corpus.tokens[: (corpus.tokens == end).nonzero()[0]]
    assert corpus.tokenizer.decode(first.tolist()) == corpus.documents[0]


def test_tags_of_the_small_web_are_single_tokens():
    corpus = ladder.ladder_corpus("small web")
    n_tags = sum(text.count(THINK) for text in corpus.documents)
    assert (corpus.tokens == corpus.tokenizer.special_tokens[THINK]).sum() == n_tags > 100


def test_the_scorer_reads_tags_as_tokens_too():
    corpus = ladder.ladder_corpus("small web")
    model = GPT2(GPT2Settings(vocab_size=512, max_seq_len=16, d_model=8, n_layers=1, n_heads=2))
    model.token_embedding.weight.data.zero_()  # every token is as likely as any other: 9 bits each
    assert corpus.scorer(model)("<think>\n</think>") == pytest.approx(9 * 3)


def test_one_scorer_is_scored_on_both_and_a_mapping_on_what_it_names():
    assert ladder.score_on_corpora(baselines.uniform_bits) == {"plays": 8.0, "small web": 8.0}
    assert ladder.score_on_corpora({"small web": lambda text: 16.0 * len(text.encode())}) == {
        "small web": 16.0
    }


def test_an_unknown_corpus_is_named():
    with pytest.raises(ValueError, match="no corpus 'news'; there are plays, small web"):
        ladder.ladder_corpus("news")


def test_what_is_stored_is_what_comes_out():
    stored = ladder.load_rungs("no_nets")
    assert set(stored) >= {"gzip", "xz, after the training text", "8-grams of bytes"}
    for name in NAMES:
        corpus = ladder.ladder_corpus(name)
        assert stored["8 bits, no guess"][name] == 8
        gzip = evaluate.evaluate_bits_per_byte(baselines.gzip_bits, ["".join(corpus.held_out)])
        # zlib differs from machine to machine
        assert stored["gzip"][name] == pytest.approx(gzip, rel=0.01)
        pairs = ladder.score_on_corpora({name: baselines.NGramModel(corpus.documents, order=2)})
        assert stored["2-grams of bytes"][name] == pytest.approx(pairs[name])
        assert all(0 < bits[name] <= 8 and math.isfinite(bits[name]) for bits in stored.values())


def test_the_stored_file_is_made_by_the_module(tmp_path, monkeypatch):
    small = ladder.LadderCorpus(
        ("to be or not to be",) * 3, ("to be or to go",), ladder.ladder_corpus("plays").tokenizer
    )
    monkeypatch.setattr(ladder, "LADDER_FOLDER", tmp_path / "ladder")
    monkeypatch.setattr(ladder, "ladder_corpus", lambda name: small)
    rungs = ladder.score_baselines()
    ladder.save_rungs("no_nets", rungs)
    assert ladder.load_rungs("no_nets") == rungs and set(rungs) == set(stored_names())
    assert rungs["2-grams of bytes"]["plays"] < rungs["1-grams of bytes"]["plays"] < 8


def test_gpt2_is_stored_with_one_score_per_seed_below_all_else():
    stored, others = ladder.load_rungs("gpt2")["GPT-2"], ladder.load_rungs("no_nets").values()
    for name in NAMES:
        assert len(set(stored[name])) == 3
        assert max(stored[name]) < min(bits[name] for bits in others)


def test_climbing_learns_and_the_seed_decides(monkeypatch):
    monkeypatch.setattr(ladder, "LADDER_CORPORA", {"small web": ladder.small_web_corpus})
    web = ladder.ladder_corpus("small web")
    short = ladder.LadderCorpus(web.documents[:2000], web.held_out[:20], web.tokenizer)
    one, again, other = (ladder.train_ladder_gpt2(short, steps=8, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.norm.weight, again.norm.weight) and not torch.equal(
        one.norm.weight, other.norm.weight
    )
    fresh = GPT2(one.settings)
    bits = [
        evaluate.evaluate_bits_per_byte(short.scorer(model), short.held_out)
        for model in (one, fresh)
    ]
    assert bits[0] < bits[1] - 0.5
    monkeypatch.setattr(ladder, "ladder_corpus", lambda name: short)
    monkeypatch.setattr(
        ladder, "train_ladder_gpt2", lambda corpus, seed: one if seed == 0 else fresh
    )
    assert ladder.score_gpt2(seeds=(0, 5)) == {"GPT-2": {"small web": pytest.approx(bits)}}


def stored_names():
    return ladder.read_json(
        ladder.DATA_FOLDER / "ladder" / "no_nets.json", "rungs of the ladder", 1
    )


def test_up_to_takes_whole_documents():
    assert ladder.take_bytes(3, ["abc", "d"]) == ("abc",)
    assert ladder.take_bytes(4, ["é", "é", "é"]) == ("é", "é")
    assert ladder.take_bytes(99, ["abc", "d"]) == ("abc", "d")


def test_a_model_is_trained_on_windows_of_the_tokens():
    corpus = ladder.ladder_corpus("small web")
    assert corpus.tokens.dtype == torch.long and 1_200_000 < len(corpus.tokens) < 1_500_000
