"""Mixtures of experts: what is trained, what is measured, and a record that is whole."""

from statistics import mean

import pytest
import torch

from course_lib.experiments import expert_runs, experts, fact_memory, specialisation
from course_lib.experiments.specialisation import ExpertVisits, mutual_information
from course_lib.layers import moe
from course_lib.models.deepseek import count_active_parameters
from course_lib.models.gpt2 import count_parameters
from course_lib.training.deepseek_objective import moe_layers


@pytest.fixture(scope="module")
def corpus():
    return experts.page_corpus(0.3, n_held_out=60)


def test_all_shapes_have_the_dense_models_width_at_work():
    dense = count_parameters(experts.dense_model(300))
    for shape in ("4-1-0", "16-4-0", "15-3-1", "16-1-1"):
        model = experts.expert_model(300, shape=shape)
        routers = sum(layer.router.weight.numel() for layer in moe_layers(model))
        assert count_active_parameters(model) - routers == dense
        assert count_parameters(model) > 1.5 * dense


def test_a_detached_router_gets_the_balance_loss_gradient_alone(corpus):
    torch.manual_seed(0)
    model = experts.expert_model(corpus.tokenizer.n_vocab, kind=experts.DetachedExperts)
    ids = corpus.windows[0][:2]
    model(ids).square().sum().backward()
    weight = moe_layers(model)[0].router.weight
    assert weight.grad is None
    assert moe_layers(model)[0].experts.down.grad.any()
    model(ids)
    moe.expert_balance_loss(moe_layers(model)[0].routing).backward()
    assert weight.grad.any()


def test_random_experts_are_distinct_weigh_alike_and_ignore_the_token():
    router = experts.RandomRouter(8, 6, n_chosen=3)
    routing = router(torch.zeros(500, 8))
    assert all(len(set(row)) == 3 for row in routing.chosen.tolist())
    assert (routing.weights == 1 / 3).all()
    load = moe.expert_load(routing)
    assert load.min() > 200 and load.max() < 300


def test_v2s_objective_is_the_sum_of_its_parts(corpus):
    torch.manual_seed(0)
    model = experts.expert_model(corpus.tokenizer.n_vocab, **experts.LIMITED)
    inputs, targets = corpus.windows[0][:2, :-1], corpus.windows[0][:2, 1:]
    loss = experts.v2_objective(0.5, 0.3, 0.2)(model, inputs, targets)
    want = torch.nn.functional.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
    for layer in moe_layers(model):
        want = want + 0.5 * moe.expert_balance_loss(layer.routing)
        want = want + 0.3 * moe.device_balance_loss(layer.routing, 5)
        want = want + 0.2 * moe.communication_balance_loss(layer.routing, 5, 2)
    torch.testing.assert_close(loss.mean, want)


def test_tokens_know_their_page_and_kinds(corpus):
    ids, pages = corpus.windows
    assert ids.shape == pages.shape and ids.shape[1] == experts.EXPERT_CONTEXT
    first = corpus.tokenizer.decode(ids.flatten()[pages.flatten() == 0].tolist())
    assert first == experts.END_OF_PAGE + corpus.held_out[0].text
    kind = corpus.kinds[corpus.kind_of_page[3]]
    assert kind == corpus.held_out[3].labels["kind"]
    assert len(corpus.kinds) == 6


# ---- specialisation ------------------------------------------------------------------------------


def test_information_is_that_of_the_definition():
    rng = torch.Generator().manual_seed(0)
    a, b = torch.randint(4, (300,), generator=rng), torch.randint(3, (300,), generator=rng)
    b[a == 2] = 1
    want = 0.0
    for i in range(4):
        for j in range(3):
            both = ((a == i) & (b == j)).double().mean()
            if both:
                alone = (a == i).double().mean() * (b == j).double().mean()
                want += (both * (both / alone).log2()).item()
    assert mutual_information(a, b) == pytest.approx(want, abs=1e-9)
    assert mutual_information(b, a) == pytest.approx(want, abs=1e-9)


def visits_of(chosen, n_pages=200, per_page=20):
    """Tokens 0 to 9 on pages of two kinds; `chosen` gives the experts from token and kind."""
    rng = torch.Generator().manual_seed(0)
    tokens = torch.randint(10, (n_pages * per_page,), generator=rng)
    pages = torch.arange(n_pages).repeat_interleave(per_page)
    kinds = torch.randint(2, (n_pages,), generator=rng)
    return ExpertVisits(tokens, pages, kinds, chosen(tokens, kinds[pages])[None, :, None])


def test_who_looks_at_the_token_gives_away_the_token_and_who_looks_at_the_kind_the_kind():
    by_token = specialisation.measure_specialisation(visits_of(lambda token, kind: token % 4))
    by_kind = specialisation.measure_specialisation(visits_of(lambda token, kind: kind))
    assert by_token["token"][0] > 1.9 and by_token["kind given token"][0] < 0.01
    assert by_kind["kind"][0] > 0.99 and by_kind["kind given token"][0] > 0.99
    assert by_kind["kind given token, shuffled"][0] < 0.01
    for found in (by_token, by_kind):
        assert found["token, shuffled"][0] < 0.05 and found["kind, shuffled"][0] < 0.05
    assert by_kind["token"][0] < 0.05
    assert by_token["expert"][0] == pytest.approx(by_token["token"][0])


def test_kinds_shuffled_within_a_token_keep_the_table_of_tokens_and_kinds():
    rng = torch.Generator().manual_seed(0)
    groups, values = (
        torch.randint(5, (400,), generator=rng),
        torch.randint(3, (400,), generator=rng),
    )
    mixed = specialisation.shuffle_within(groups, values, rng)
    assert (mixed != values).any()
    for group in range(5):
        mine = groups == group
        assert mixed[mine].sort().values.tolist() == values[mine].sort().values.tolist()


def test_loads_and_favourites_are_counted_by_kind_and_token():
    visits = visits_of(lambda token, kind: torch.where(token == 7, 1, 2 * kind))
    shares = specialisation.load_by_kind(visits, 0, 3)
    torch.testing.assert_close(shares.sum(1), torch.ones(2))
    assert shares[0, 2] == 0 and shares[1, 0] == 0 and shares[0, 0] > 0.8
    best = specialisation.favourite_tokens(visits, 0, 3, n_best=2)
    assert best[1][0] == (7, 1.0) and best[1][1][1] == 0.0
    assert all(0.3 < share < 0.7 for _, share in best[0])


def test_a_token_is_sent_to_a_device_once():
    chosen = torch.tensor([[[0, 1], [0, 2], [1, 3], [0, 1]]])  # experts 0, 1 | 2, 3
    found = specialisation.measure_devices(chosen, 4, 2)
    assert found == {"per_token": 1.5, "violation": pytest.approx(4 / 3 - 1)}


# ---- the record ----------------------------------------------------------------------------------


def test_the_record_goes_on_where_it_ended(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(expert_runs, "MUON_RATES", (0.01, 0.04))
    monkeypatch.setattr(expert_runs, "seconds_per_step", lambda models, corpus: [1.0, 1.5])
    command = ["--out", str(tmp_path), "--steps", "2", "--seeds", "5", "--megabytes", "0.3"]
    command += ["--tables", "main", "routers", "time", "upcycling"]
    expert_runs.main(command)
    first = expert_runs.read_experts(tmp_path)
    assert len(capsys.readouterr().out.splitlines()) == len(first) == 4 + 3 + 2 + 1 + 6
    expert_runs.main(command)
    assert expert_runs.read_experts(tmp_path) == first and not capsys.readouterr().out
    by_name = {(run["table"], run["name"]): run for run in first}
    assert by_name["time", "dense, as long"]["steps"] == 3
    assert by_name["upcycling", "dense, trained on as long"]["steps"] == 4
    dense, untrained = (by_name["upcycling", name] for name in ("dense", "upcycled, untrained"))
    assert untrained["bits_per_byte"] == pytest.approx(dense["bits_per_byte"], abs=1e-5)
    model, corpus = expert_runs.load_experts(5, tmp_path), experts.page_corpus(0.3)
    again = expert_runs.measure_pages(model, corpus)
    for name in ("bits_per_byte", "violation", "dead", "devices"):
        assert again[name] == pytest.approx(by_name["main", "experts"][name], abs=1e-5), name


def test_the_shipped_record_is_whole():
    runs = expert_runs.read_experts()
    names = {(run["table"], run["name"], run["seed"]) for run in runs}
    for table, kinds in experts.EXPERT_RUNS.items():
        assert names >= {(table, name, seed) for name in kinds for seed in (0, 1, 2)}
    for run in runs:
        if run["table"] == "main":
            model = experts.EXPERT_RUNS["main"][run["name"]].build(512)
            assert run["parameters"] == count_parameters(model)
            assert run["active"] == count_active_parameters(model)
    assert len([run for run in runs if run["table"] == "upcycling"]) == 18
    assert len([run for run in runs if run["table"] == "rates"]) == 2 * len(experts.MUON_RATES)
    for name in ("dense", "experts"):
        tried = [run for run in runs if run["table"] == "rates" and run["name"] == name]
        best = min(tried, key=lambda run: run["bits_per_byte"])["rate"]
        used = {run["rate"] for run in runs if (run["table"], run["name"]) == ("main", name)}
        assert used == {best}
    assert mean(run["steps"] for run in runs if run["table"] == "time") >= experts.EXPERT_STEPS


# ---- facts ---------------------------------------------------------------------------------------


def test_all_layers_for_facts_have_one_width_at_work():
    narrow = count_parameters(fact_memory.FACT_MODELS["narrow"]())
    for name in ("1 of 4", "4 of 16", "3 of 15, 1 shared", "no gradient", "random"):
        layer = fact_memory.FACT_MODELS[name]()
        n_chosen, n_experts = layer.router.choice["n_chosen"], len(layer.experts.down)
        per_expert = layer.experts.down[0].numel() * 3
        shared = count_parameters(layer.shared) if layer.shared else 0
        assert n_chosen * per_expert + shared == narrow
        assert (n_experts * per_expert + shared) / narrow == pytest.approx(4)


def test_facts_are_all_pairs_once_and_are_learnt(monkeypatch):
    monkeypatch.setattr(fact_memory, "FACT_TOKENS", 6)
    torch.manual_seed(0)
    facts = fact_memory.draw_facts()
    assert sorted(facts.pairs.tolist()) == [[i, j] for i in range(6) for j in range(6)]
    inputs, targets = next(facts.batches())
    answers = {tuple(pair): answer for pair, answer in zip(*map(torch.Tensor.tolist, (
        facts.pairs, facts.answers)), strict=True)}  # fmt: skip
    assert [answers[tuple(pair)] for pair in inputs.tolist()] == targets.tolist()
    for name in ("narrow", "4 of 16"):
        assert fact_memory.learn_facts(name, seed=0, steps=60)["known"] > 0.9
        assert fact_memory.learn_facts(name, seed=0, steps=1)["known"] < 0.6


def test_the_best_rate_is_that_of_the_shortest_runs():
    def run(name, rate, steps, known, seed=0):
        return {"name": name, "rate": rate, "steps": steps, "known": known, "seed": seed}

    runs = [run("a", 0.1, 3, 0.5), run("a", 0.2, 3, 0.7), run("a", 0.2, 3, 0.6, seed=1)]
    runs += [run("a", 0.1, 15, 0.9), run("a", 0.2, 15, 0.8), run("b", 0.1, 3, 1.0)]
    assert fact_memory.best_fact_rate(runs, "a") == 0.2
    assert fact_memory.facts_known(runs, "a") == [0.7, 0.6]
    assert fact_memory.facts_known(runs, "a", times=5) == [0.8]


def test_the_shipped_facts_are_whole():
    runs = fact_memory.read_facts()
    for name in fact_memory.FACT_MODELS:
        assert len(fact_memory.facts_known(runs, name)) == 3
        swept = {run["rate"] for run in runs if run["name"] == name and run["seed"] == 0}
        assert swept == set(fact_memory.FACT_RATES)
    assert len(fact_memory.facts_known(runs, "narrow", times=5)) == 3
