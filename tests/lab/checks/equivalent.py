"""Mutants that no input within the statement can tell from the solution, each with the reason."""

CAUGHT_TOGETHER = "errors that are caught together have no order"
TWO_AXES = "the exercise's table has two axes, so the last is axis 1"

BOTH_SIDES = "as many experts went as came, since each token has as many as before"

CHOSEN_ROWS = "what is chosen from the table has two axes, so the last is axis 1"

LAST_BUT_ONE = "of four axes, 2 is the last but one"
WIDTHS = "queries, keys and values are equally wide"
ROWS = "there is a target for each row of logits"
ONE_AXIS = "the exercise's tensor has one axis, so the last is axis 0"
WIDE = (
    "sixty halvings leave a width of a trillionth; one more or less, or a wider start, is not seen"
)
FIRST_PAIR = "the first pair shrinks what was there by exp(-inf) = 0"
SCORED = "there is a verdict for each score"
ONE_COLUMN = "one token is looked up, so the last column is the first"
TRUE_IS_ONE = "the numbers decide, and True is 1"
EVEN_WIDTH = "the width is even, so every second number from the first ends at the last but one"
UNRELATED = "two statements of which neither uses what the other sets"
ROUND = "Python counts negative indices from the end, which is round the ring"
BACKWARD_FIRST = (
    " ; @staticmethod ; def backward(ctx, grad: Tensor) -> Tensor: ; return all_reduce(grad)"
    " -> def backward(ctx, grad: Tensor) -> Tensor: ; return all_reduce(grad) ;  ; @staticmethod"
)

WHOLE_QUOTIENT = "the quotient is whole, and the numbers decide, not their type"
SHARED_WIDTH = {
    "d_kv = d_model * config['num_key_value_heads'] // config['num_attention_heads']"
    " -> d_kv = d_model * config['num_key_value_heads'] / config['num_attention_heads']": (
        WHOLE_QUOTIENT
    )
}

EQUIVALENT: dict[str, dict[str, dict[str, str]]] = {
    "v4_block": {
        "doubly_stochastic": {
            "mixing = mixing / mixing.sum(0, keepdim=True) -> mixing = mixing / mixing.sum(0)": (
                "a row of sums meets every row of the matrix"
            ),
            "mixing = mixing / mixing.sum(0, keepdim=True)"
            " -> mixing = mixing / mixing.sum(0, keepdim=False)": (
                "a row of sums meets every row of the matrix"
            ),
            "mixing = mixing / mixing.sum(0, keepdim=True)"
            " -> mixing = mixing / mixing.mean(0, keepdim=True)": (
                "the rows are divided by their sums next, which takes a common factor out"
            ),
            "mixing = mixing / mixing.sum(1, keepdim=True)"
            " -> mixing = mixing / mixing.sum(-1, keepdim=True)": TWO_AXES,
        },
        "v4_gates": {
            "return torch.zeros_like(logits).scatter(0, chosen, picked / picked.sum())"
            " -> return torch.zeros_like(logits).scatter(-1, chosen, picked / picked.sum())": (
                ONE_AXIS
            ),
            "return torch.zeros_like(logits).scatter(0, chosen, picked / picked.sum())"
            " -> return torch.zeros_like(bias).scatter(0, chosen, picked / picked.sum())": (
                "there is a bias for each logit, of its kind"
            ),
        },
    },
    "after_v4": {
        "expert_weights": {
            "moved: each = 3 * config['hidden_size'] * config['moe_intermediate_size']"
            " * config['num_hidden_layers']": UNRELATED
        },
        "cache_bytes": {
            "moved: index_key = config['index_head_dim'] / 2": UNRELATED,
            "moved: ratios = [ratio for ratio in config['compress_ratios'] if ratio]": UNRELATED,
        },
        "hash_pairs": {"moved: earlier = [before, *tokens]": UNRELATED},
        "gate": {
            "key, stream = (v / v.square().mean(-1, keepdim=True).sqrt() for v in (key, stream))"
            " -> key, stream = (v / v.square().mean(-1, keepdim=True).sqrt() for v in (stream,"
            " key))": "the two are only multiplied",
            "key, stream = (v / v.square().mean(-1, keepdim=True).sqrt() for v in (key, stream))"
            " -> key, stream = (v / v.square().mean(1, keepdim=True).sqrt() for v in (key,"
            " stream))": TWO_AXES,
            "score = (key * stream).sum(-1) / key.shape[-1] ** 0.5"
            " -> score = (key * stream).sum(1) / key.shape[-1] ** 0.5": TWO_AXES,
            "score = (key * stream).sum(-1) / key.shape[-1] ** 0.5"
            " -> score = key.mul_(stream).sum(-1) / key.shape[-1] ** 0.5": (
                "the key that changes is the normed one, of which nothing is needed afterwards"
            ),
            "score = (key * stream).sum(-1) / key.shape[-1] ** 0.5"
            " -> score = (key * stream).sum(-1) / key.shape[1] ** 0.5": TWO_AXES,
            "score = (key * stream).sum(-1) / key.shape[-1] ** 0.5"
            " -> score = (key * stream).sum(-1) / stream.shape[-1] ** 0.5": "they are equally wide",
        },
    },
    "rl_after_r1": {
        "kept_log_probs": {
            "return left.log_softmax(-1).gather(-1, tokens[:, None])[:, 0]"
            " -> return left.log_softmax(-1).gather(1, tokens[:, None])[:, 0]": TWO_AXES,
            "return left.log_softmax(-1).gather(-1, tokens[:, None])[:, 0]"
            " -> return left.log_softmax(-1).gather(-1, tokens[:, None])[:, -1]": (
                "one column is gathered, the first and the last"
            ),
            "return left.log_softmax(-1).gather(-1, tokens[:, None])[:, 0]"
            " -> return left.log_softmax(1).gather(-1, tokens[:, None])[:, 0]": TWO_AXES,
        },
        "flipped_share": {
            "same = (chosen[:, :, None] == theirs[:, None, :]).any(-1)"
            " -> same = (chosen[:, :, None] == theirs[:, None, :]).any(1)": BOTH_SIDES,
            "same = (chosen[:, :, None] == theirs[:, None, :]).any(-1)"
            " -> same = (chosen[:, :, None] == theirs[:, None, :]).any(-2)": BOTH_SIDES,
            "same = (chosen[:, :, None] == theirs[:, None, :]).any(-1)"
            " -> same = (chosen[:, :, None] == theirs[:, None]).any(-1)": (
                "an axis that is not named is taken whole"
            ),
        },
        "replayed_gates": {
            "scores = logits.sigmoid().gather(-1, chosen)"
            " -> scores = logits.sigmoid().gather(1, chosen)": TWO_AXES,
            "weights = scale * scores / scores.sum(-1, keepdim=True)"
            " -> weights = scale * scores / scores.sum(1, keepdim=True)": TWO_AXES,
            "return torch.zeros_like(logits).scatter(-1, chosen, weights)"
            " -> return torch.zeros_like(logits).scatter(1, chosen, weights)": TWO_AXES,
            "return torch.zeros_like(logits).scatter(-1, chosen, weights)"
            " -> return torch.zeros_like(their_logits).scatter(-1, chosen, weights)": (
                "both tables of logits have one shape"
            ),
        },
        "v32_loss": {
            "gains = torch.minimum(ratios * advantages, ratios.clamp(1 - clip, 1 + clip)"
            " * advantages) -> gains = torch.minimum(ratios.clamp(1 - clip, 1 + clip)"
            " * advantages, ratios * advantages)": "the smaller of two has no order",
            "return -((values * mask).sum(-1) / mask.sum(-1)).mean()"
            " -> return -((values * mask).sum(1) / mask.sum(-1)).mean()": TWO_AXES,
            "return -((values * mask).sum(-1) / mask.sum(-1)).mean()"
            " -> return -((values * mask).sum(-1) / mask.sum(1)).mean()": TWO_AXES,
        },
        "kept_answers": {
            "distance = ((old_log_probs - log_probs) * mask).sum(-1) / mask.sum(-1)"
            " -> distance = ((old_log_probs - log_probs) * mask).sum(1) / mask.sum(-1)": TWO_AXES,
            "distance = ((old_log_probs - log_probs) * mask).sum(-1) / mask.sum(-1)"
            " -> distance = ((old_log_probs - log_probs) * mask).sum(-1) / mask.sum(1)": TWO_AXES,
        },
    },
    "ctrl": {
        "coded_batch": {
            "moved: inputs, targets = ([], [])": UNRELATED,
            "moved: targets.append([*page, end] + [-100] * missing)": UNRELATED,
            "return (torch.tensor(inputs), torch.tensor(targets))"
            " -> return (inputs, torch.tensor(targets))": "a table may be a list of rows",
            "return (torch.tensor(inputs), torch.tensor(targets))"
            " -> return (torch.tensor(inputs), targets)": "a table may be a list of rows",
        },
        "halved_sinusoids": {
            "return torch.cat([angles.sin(), angles.cos()], dim=1)"
            " -> return torch.cat([angles.sin(), angles.cos()], dim=-1)": TWO_AXES
        },
        "code_posterior": {
            "return (log_likelihoods + prior.log()).softmax(-1)"
            " -> return (log_likelihoods + prior.log()).softmax(1)": TWO_AXES
        },
        "known_part_log_probs": {
            "return (log_likelihoods[:, agrees] + log_weights).logsumexp(-1)"
            " -> return (log_likelihoods[:, agrees] + log_weights).logsumexp(1)": TWO_AXES
        },
        "penalised_logits": {
            "lowered[token] = score / penalty if score > 0 else score * penalty"
            " -> lowered[token] = score / penalty if score >= 0 else score * penalty": (
                "a score of 0 stays 0 either way"
            )
        },
        "continuation_log_prob": {
            "log_probs = logits.log_softmax(-1) -> log_probs = logits.log_softmax(1)": TWO_AXES,
            "return log_probs[torch.arange(start - 1, len(ids) - 1), ids[start:]].sum()"
            " -> return log_probs[torch.arange(start - 1, len(logits) - 1), ids[start:]].sum()": (
                "there is a row of logits for each token"
            ),
        },
    },
    "balance_and_prediction": {
        "gates": {
            "picked = scores.gather(-1, chosen) -> picked = scores.gather(1, chosen)": TWO_AXES,
            "weights = picked / picked.sum(-1, keepdim=True)"
            " -> weights = picked / picked.sum(1, keepdim=True)": TWO_AXES,
            "return torch.zeros_like(scores).scatter(-1, chosen, weights)"
            " -> return torch.zeros_like(scores).scatter(1, chosen, weights)": TWO_AXES,
        },
        "journeys": {
            "owner = chosen // (n_experts // n_ranks) -> owner = chosen // (n_experts / n_ranks)": (
                "the ranks divide the experts"
            ),
            "return [int((owner == rank).any(1).sum()) for rank in range(n_ranks)]"
            " -> return [(owner == rank).any(1).sum() for rank in range(n_ranks)]": (
                "a tensor of one whole number counts as that number"
            ),
            "return [int((owner == rank).any(1).sum()) for rank in range(n_ranks)]"
            " -> return [int((owner == rank).any(-1).sum()) for rank in range(n_ranks)]": TWO_AXES,
        },
        "mtp_pairs": {
            "n_places = ids.shape[1] - depth - 1 -> n_places = ids.shape[-1] - depth - 1": TWO_AXES
        },
        "round_e4m3": {
            "exponent = max(math.frexp(x)[1] - 1, -6)"
            " -> exponent = max(math.frexp(x)[-1] - 1, -6)": "frexp gives a pair of numbers",
            "step = 2.0 ** (exponent - 3) -> step = (-2.0) ** (exponent - 3)": (
                "rounding is alike on both sides of 0, so the step's sign cancels"
            ),
        },
        "tile_scales": {
            "largest = x.unflatten(1, (-1, width)).abs().amax(2)"
            " -> largest = x.unflatten(-1, (-1, width)).abs().amax(2)": TWO_AXES
        },
    },
    "attention": {
        "scaled_scores": {
            "return q @ k.T / q.shape[-1] ** 0.5 -> return q @ k.T / q.shape[1] ** 0.5": TWO_AXES,
            "return q @ k.T / q.shape[-1] ** 0.5 -> return q @ k.T / k.shape[-1] ** 0.5": WIDTHS,
        },
        "causal_weights": {
            "return scores.masked_fill(future, -torch.inf).softmax(-1)"
            " -> return scores.masked_fill(future, -torch.inf).softmax(1)": TWO_AXES
        },
        "split_heads": {
            "return x.unflatten(-1, (n_heads, -1)).transpose(1, 2)"
            " -> return x.unflatten(-1, (n_heads, -1)).transpose(1, -2)": LAST_BUT_ONE
        },
        "induction_score": {
            "return (weights * follows).sum(-1)[follows.any(-1)].mean().item()"
            " -> return (weights * follows).sum(1)[follows.any(-1)].mean().item()": TWO_AXES,
            "return (weights * follows).sum(-1)[follows.any(-1)].mean().item()"
            " -> return (weights * follows).sum(-1)[follows.any(1)].mean().item()": TWO_AXES,
        },
        "streaming_average": {
            "largest, total, weighted = (-math.inf, 0.0, 0.0)"
            " -> largest, total, weighted = (-math.inf, 1.0, 0.0)": FIRST_PAIR,
            "largest, total, weighted = (-math.inf, 0.0, 0.0)"
            " -> largest, total, weighted = (-math.inf, 0.0, 1.0)": FIRST_PAIR,
            "moved: largest = new": UNRELATED,
        },
        "attend_with_cache": {
            "scores = q @ keys.T / q.shape[-1] ** 0.5"
            " -> scores = q @ keys.T / q.shape[1] ** 0.5": TWO_AXES,
            "scores = q @ keys.T / q.shape[-1] ** 0.5"
            " -> scores = q @ keys.T / k.shape[-1] ** 0.5": WIDTHS,
            "scores = q @ keys.T / q.shape[-1] ** 0.5"
            " -> scores = q @ keys.T / past_k.shape[-1] ** 0.5": WIDTHS,
            "scores = q @ keys.T / q.shape[-1] ** 0.5"
            " -> scores = q @ keys.T / v.shape[-1] ** 0.5": WIDTHS,
            "scores = q @ keys.T / q.shape[-1] ** 0.5"
            " -> scores = q @ keys.T / past_v.shape[-1] ** 0.5": WIDTHS,
            "future = torch.ones_like(scores, dtype=torch.bool).triu(len(past_k) + 1)"
            " -> future = torch.ones_like(scores, dtype=torch.bool).triu(len(past_v) + 1)": (
                "a cache holds as many values as keys"
            ),
            "return (scores.masked_fill(future, -torch.inf).softmax(-1) @ values, keys, values)"
            " -> return (scores.masked_fill(future, -torch.inf).softmax(1) @ values, keys, values)"
            "": TWO_AXES,
        },
    },
    "mlp": {
        "head_writes": {
            "return torch.stack([head @ part.T for head, part in"
            " zip(mixed, W_O.chunk(len(mixed), dim=1), strict=True)])"
            " -> return torch.stack([head @ part.T for head, part in"
            " zip(mixed, W_O.chunk(len(mixed), dim=-1), strict=True)])": TWO_AXES
        },
        "write_facts": {
            "return (keys, torch.full((len(keys),), -1.0), values.T)"
            " -> return (keys, torch.full((len(values),), -1.0), values.T)": (
                "there are as many values as keys"
            )
        },
    },
    "small_berts": {
        "layer_group": {
            "return layer // (n_layers // n_hidden_groups)"
            " -> return layer // (n_layers / n_hidden_groups)": WHOLE_QUOTIENT
        },
        "order_pair": {
            "moved: second = [token for sentence in sentences[cut:] for token in sentence]": (
                UNRELATED
            )
        },
        "soft_loss": {
            "moved: got = (student / temperature).log_softmax(-1)": UNRELATED,
            "wanted = (teacher / temperature).softmax(-1)"
            " -> wanted = (teacher / temperature).softmax(1)": TWO_AXES,
            "got = (student / temperature).log_softmax(-1)"
            " -> got = (student / temperature).log_softmax(1)": TWO_AXES,
            "divergence = (wanted * (wanted.log() - got)).sum(-1)"
            " -> divergence = (wanted * (wanted.log() - got)).sum(1)": TWO_AXES,
        },
    },
    "transformer": {
        "transformer_block": {
            "return x + mlp(norm_2(x)) -> return x.add_(mlp(norm_2(x)))": (
                "by then x is the function's own sum, no longer its argument"
            )
        },
        "from_hf": {
            "moved: name = name.removeprefix('transformer.')": (
                "the prefix holds none of the names that are replaced"
            ),
            "ours[name] = tensor.T if 'blocks' in name and tensor.ndim == 2 else tensor"
            " -> ours[name] = tensor.T if 'blocks' in name else tensor": (
                "a vector is its own transpose"
            ),
        },
        "overfit_batch": {
            "moved: optimizer.zero_grad()": "gradients are cleared before they are computed",
            "moved: losses.append(loss.item())": UNRELATED,
        },
        "init_weights": {
            "writes = name.endswith(('attention.out.weight', 'mlp.down.weight'))"
            " -> writes = name.endswith(('mlp.down.weight', 'attention.out.weight'))": (
                "the order of two endings"
            )
        },
    },
    "output": {
        "token_losses": {
            "return -log_softmax(logits)[torch.arange(len(targets)), targets]"
            " -> return -log_softmax(logits)[torch.arange(len(logits)), targets]": ROWS
        },
        "logit_gradient": {
            "gradient = logits.softmax(-1) -> gradient = logits.softmax(1)": TWO_AXES,
            "gradient[torch.arange(len(targets)), targets] -= 1"
            " -> gradient[torch.arange(len(logits)), targets] -= 1": ROWS,
            "return gradient / len(targets) -> return gradient / len(logits)": ROWS,
        },
        "nucleus_probs": {
            "kept = best * (best.cumsum(0) - best < p)"
            " -> kept = best * (best.cumsum(-1) - best < p)": ONE_AXIS,
            "return torch.zeros_like(probs).scatter(0, order, kept) / kept.sum()"
            " -> return torch.zeros_like(probs).scatter(-1, order, kept) / kept.sum()": ONE_AXIS,
            "return torch.zeros_like(probs).scatter(0, order, kept) / kept.sum()"
            " -> return probs.scatter(0, order, kept) / kept.sum()": "every entry is overwritten",
            "return torch.zeros_like(probs).scatter(0, order, kept) / kept.sum()"
            " -> return torch.ones_like(probs).scatter(0, order, kept) / kept.sum()": (
                "every entry is overwritten"
            ),
        },
        "temperature_for_entropy": {
            "low, high = (0.001, 1000.0) -> low, high = (0.0005, 1000.0)": WIDE,
            "low, high = (0.001, 1000.0) -> low, high = (0.001, 2000.0)": WIDE,
            "low, high = (0.001, 1000.0) -> low, high = (0.001, 1001.0)": WIDE,
            "for _ in range(60): -> for _ in range(60 + 1):": WIDE,
            "for _ in range(60): -> for _ in range(60 - 1):": WIDE,
            "for _ in range(60): -> for _ in range(61):": WIDE,
            "for _ in range(60): -> for _ in range(59):": WIDE,
            "probs = (logits / middle).softmax(-1) -> probs = (logits / middle).softmax(0)": (
                ONE_AXIS
            ),
            "low, high = (middle, high) if entropy < bits else (low, middle)"
            " -> low, high = (middle, high) if entropy <= bits else (low, middle)": (
                "where the entropy is that wanted, either half holds the answer"
            ),
        },
        "beam_step": {
            "parents, tokens = (best // log_probs.shape[1], best % log_probs.shape[1])"
            " -> parents, tokens = (best // log_probs.shape[-1], best % log_probs.shape[1])": (
                TWO_AXES
            ),
            "parents, tokens = (best // log_probs.shape[1], best % log_probs.shape[1])"
            " -> parents, tokens = (best // log_probs.shape[1], best % log_probs.shape[-1])": (
                TWO_AXES
            ),
            "return (torch.cat([beams[parents], tokens[:, None]], dim=1), scores)"
            " -> return (torch.cat([beams[parents], tokens[:, None]], dim=-1), scores)": TWO_AXES,
        },
    },
    "bert": {
        "corrupt_tokens": {
            "moved: kept = (dice >= 0.8) & (dice < 0.9)": UNRELATED,
            "changed = torch.where(dice < 0.8, mask_token, others)"
            " -> changed = torch.where(dice <= 0.8, mask_token, others)": (
                "a token whose die is 0.8 is kept, so that what it would become is not seen"
            ),
        },
        "cut_word": {
            "moved: ends = range(len(word), start, -1)": UNRELATED,
            "ends = range(len(word), start, -1) -> ends = range(len(word) + 1, start, -1)": (
                "a slice that ends behind the word is the word's rest once more"
            ),
            "ends = range(len(word), start, -1) -> ends = range(len(word), start - 1, -1)": (
                "a piece without letters is in no vocabulary"
            ),
        },
        "hidden_loss": {
            "log_probs = logits[hidden].log_softmax(-1)"
            " -> log_probs = logits[hidden].log_softmax(1)": CHOSEN_ROWS,
            "return -log_probs.gather(1, targets[hidden][:, None]).mean()"
            " -> return -log_probs.gather(-1, targets[hidden][:, None]).mean()": CHOSEN_ROWS,
        },
        "mean_pooling": {
            "real = (~padding).float()[..., None] -> real = (~padding)[..., None]": TRUE_IS_ONE
        },
        "pair_row": {
            "moved: first = [cls_token, *(token for sentence in document[:cut] for token in"
            " sentence), sep_token]": UNRELATED,
            "moved: second = [*(token for sentence in rest for token in sentence), sep_token]": (
                UNRELATED
            ),
            "return (first + second, [0] * len(first) + [1] * len(second), int(other is not None))"
            " -> return (first + second, [0] * len(first) + [1] * len(second), other is not None)"
            "": TRUE_IS_ONE,
        },
        "token_positions": {
            "real = (ids != pad_token).long() -> real = ids != pad_token": TRUE_IS_ONE,
            "return real.cumsum(1) * real + pad_token -> return real.cumsum(-1) * real + pad_token"
            "": TWO_AXES,
        },
    },
    "bpe": {
        "merge": {"moved: i += 2": UNRELATED},
        "learn": {
            "ids, merges = (list(text.encode()), []) -> ids, merges = (text.encode(), [])": (
                "bytes are a sequence of numbers as a list is"
            ),
            "moved: merges.append(pair)": UNRELATED,
        },
        "encode_piece": {"i = min(found)[1] -> i = min(found)[-1]": "a pair's second is its last"},
        "streamed_text": {"moved: shown.append(whole)": UNRELATED},
    },
    "pytorch": {
        "normalize_rows": {
            "return counts / counts.sum(-1, keepdim=True)"
            " -> return counts / counts.sum(1, keepdim=True)": TWO_AXES
        }
    },
    "data_collection": {
        "in_test": {
            "return crc32(url.encode()) / 2 ** 32 < share"
            " -> return crc32(url.encode()) / (-2) ** 32 < share": "an even power loses the sign"
        },
        "contaminated": {
            "moved:  ; def found(item): ; k = min(n, len(item.split())) ;"
            " return any((runs(item, k) & runs(text, k) for text in train))": (
                "two inner functions, neither of which is called before both are defined"
            )
        },
        "bands_and_rows": {
            "for rows in range(n_hashes, 0, -1): -> for rows in range(n_hashes + 1, 0, -1):": (
                "more rows than hashes never divide them"
            ),
            "for rows in range(n_hashes, 0, -1): -> for rows in range(n_hashes, 0 - 1, -1):": (
                "the exercise asks nothing where no number of rows will do"
            ),
            "for rows in range(n_hashes, 0, -1): -> for rows in range(n_hashes, -1, -1):": (
                "the exercise asks nothing where no number of rows will do"
            ),
        },
    },
    "layer_norm": {
        "looks_ahead": {
            "other[-1] = torch.randn(x.shape[1]) -> other[-1] = x.shape[1]": (
                "a row of equal numbers is quite another token than a random one, too"
            ),
            "other[-1] = torch.randn(x.shape[1]) -> other[-1] = torch.randn(x.shape[-1])": (
                TWO_AXES
            ),
            "return not torch.allclose(norm(x)[:-1], norm(other)[:-1], atol=0.0001)"
            " -> return not torch.allclose(norm(other)[:-1], norm(x)[:-1], atol=0.0001)": (
                "allclose takes its relative tolerance from the second, nearly equal, tensor"
            ),
            "return not torch.allclose(norm(x)[:-1], norm(other)[:-1], atol=0.0001)"
            " -> return not torch.allclose(norm(x)[:-1], norm(other)[:-1], atol=0.0002)": (
                "a tolerance may be larger by a factor of two: rounding is far below, a leak above"
            ),
            "return not torch.allclose(norm(x)[:-1], norm(other)[:-1], atol=0.0001)"
            " -> return not torch.allclose(norm(x)[:-1], norm(other)[:-1], atol=5e-05)": (
                "a tolerance may be smaller by a factor of two: rounding is far below, a leak above"
            ),
        }
    },
    "embedding": {
        "nearest": {
            "directions = table / table.norm(dim=1, keepdim=True)"
            " -> directions = table / table.norm(dim=-1, keepdim=True)": TWO_AXES
        },
        "rotary": {
            "moved: first, second = x.chunk(2, dim=1)": UNRELATED,
            "moved: cos, sin = (angles.cos(), angles.sin())": UNRELATED,
            "angles = torch.arange(T)[:, None] * base ** (-2 * torch.arange(D // 2) / D)"
            " -> angles = torch.arange(T)[:, None] * base ** (-2 * torch.arange(D / 2) / D)": (
                "the width D is even, and torch.arange takes a float"
            ),
            "first, second = x.chunk(2, dim=1) -> first, second = x.chunk(2, dim=-1)": TWO_AXES,
            "return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=1)"
            " -> return torch.cat([first * cos - second * sin, first * sin + second * cos],"
            " dim=-1)": TWO_AXES,
        },
        "to_halves": {
            "return heads.transpose(1, 2).reshape(W.shape)"
            " -> return heads.transpose(1, -2).reshape(W.shape)": (
                "of the four axes, 2 is the last but one"
            )
        },
    },
    "many_machines": {
        "ring_all_reduce": {
            "place = (rank - 1 - turn) % n -> place = rank - 1 - turn": ROUND,
            "come = [send(rank, pieces[rank][(rank - turn) % n]) for rank in range(n)]"
            " -> come = [send(rank, pieces[rank][rank - turn]) for rank in range(n)]": ROUND,
            "pieces[rank][(rank - turn) % n] = come[rank - 1]"
            " -> pieces[rank][rank - turn] = come[rank - 1]": ROUND,
        },
        "zero_bytes": {
            "moved: gradients = 2 / n_ranks if stage >= 2 else 2": UNRELATED,
            "moved: optimizer = 12 / n_ranks if stage >= 1 else 12": UNRELATED,
        },
        "split_mlp": {
            "ups, downs = (up.chunk(n_ranks, 0), down.chunk(n_ranks, 1))"
            " -> ups, downs = (up.chunk(n_ranks, 0), down.chunk(n_ranks, -1))": TWO_AXES
        },
        "copy_to_ranks": {
            BACKWARD_FIRST: UNRELATED,
            "return x.clone() -> return x": (
                "autograd gives a Function that returns its input an output of its own"
            ),
        },
    },
    "merging_specialists": {
        "one_token_loss": {
            "moved: theirs = teacher.log_softmax(-1).gather(-1, written[..., None])[..., 0]": (
                UNRELATED
            ),
            "own = student.log_softmax(-1).gather(-1, written[..., None])[..., 0]"
            " -> own = student.log_softmax(-1).gather(-1, written[..., None])[..., -1]": ONE_COLUMN,
            "theirs = teacher.log_softmax(-1).gather(-1, written[..., None])[..., 0]"
            " -> theirs = teacher.log_softmax(-1).gather(-1, written[..., None])[..., -1]": (
                ONE_COLUMN
            ),
        },
        "signal_and_noise": {
            "noise = (gradients - mean).square().sum() / (n - 1)"
            " -> noise = (mean - gradients).square().sum() / (n - 1)": "a square keeps no sign"
        },
    },
    "distillation": {
        "soft_target_loss": {
            "moved: own = (student / temperature).log_softmax(-1)": UNRELATED,
            "theirs = (teacher / temperature).log_softmax(-1)"
            " -> theirs = (teacher / temperature).log_softmax(1)": TWO_AXES,
            "own = (student / temperature).log_softmax(-1)"
            " -> own = (student / temperature).log_softmax(1)": TWO_AXES,
            "divergence = (theirs.exp() * (theirs - own)).sum(-1)"
            " -> divergence = (theirs.exp() * (theirs - own)).sum(1)": TWO_AXES,
        },
        "token_rewards": {
            "log_ratios = teacher.log_softmax(-1) - student.log_softmax(-1)"
            " -> log_ratios = teacher.log_softmax(1) - student.log_softmax(-1)": TWO_AXES,
            "log_ratios = teacher.log_softmax(-1) - student.log_softmax(-1)"
            " -> log_ratios = teacher.log_softmax(-1) - student.log_softmax(1)": TWO_AXES,
            "return log_ratios.gather(-1, written[:, None])[:, 0]"
            " -> return log_ratios.gather(1, written[:, None])[:, 0]": TWO_AXES,
            "return log_ratios.gather(-1, written[:, None])[:, 0]"
            " -> return log_ratios.gather(-1, written[:, None])[:, -1]": (
                "one token was written at each position, so the first column is the last"
            ),
        },
        "vote": {
            "totals[answer] = totals.get(answer, 0.0) + weight"
            " -> totals[answer] = totals.get(answer, 1.0) + weight": (
                "all totals begin at 1 in place of 0, and the order of totals is the same"
            )
        },
        "best_of_k": {
            "moved: draws = 0": UNRELATED,
            "order = sorted(range(len(scores)), key=lambda i: scores[i], reverse=True)"
            " -> order = sorted(range(len(right)), key=lambda i: scores[i], reverse=True)": SCORED,
            "worse = len(scores) - 1 - rank -> worse = len(right) - 1 - rank": SCORED,
            "return draws / comb(len(scores), k) -> return draws / comb(len(right), k)": SCORED,
        },
        "force_thought": {
            "moved: written += instead": UNRELATED,
            "while len(written) < longest and end not in written[-1:]:"
            " -> while len(written) <= longest and end not in written[-1:]:": (
                "what is one token too long is cut at the end"
            ),
        }
        | {
            "while len(written) < longest and end not in written[-1:]:"
            f" -> while len(written) < longest and end not in written{some}:": (
                "an end that stands ends the thought, so none stands further in front"
            )
            for some in ("", "[:]", "[0:]", "[-2:]")
        },
    },
    "r1": {
        "sift": {
            "moved: good = 'one too many' if 'kept' in verdicts else 'kept'": (
                "the two lines do not use each other"
            )
        },
        "rule_and_preference": {
            "return [scored[i] if i in scored else rule(questions[i], answers[i]) for i in"
            " range(len(questions))]"
            " -> return [scored[i] if i in scored else rule(questions[i], answers[i]) for i in"
            " range(len(answers))]": "there is one answer to each question"
        },
    },
    "r1_zero": {
        "rule_accuracy": {
            "return float(bool(answers) and answers[-1].strip() == truth)"
            " -> return bool(answers) and answers[-1].strip() == truth": TRUE_IS_ONE
        },
        "rule_format": {
            "if pieces[1::2] != ['<think>', '</think>', '<answer>', '</answer>']:"
            " -> if pieces[1:-1:2] != ['<think>', '</think>', '<answer>', '</answer>']:": (
                "the last piece is no tag, so it is not among the odd ones"
            ),
            "before, thought, between, answer, after = (piece.strip() for piece in pieces[::2])"
            " -> before, thought, between, answer, after ="
            " (piece.strip() for piece in pieces[::-2])": (
                "backwards thought and answer change roles, and so do front and end: the rule asks"
                " the same of both"
            ),
            "return float(bool(thought and answer) and (not before + between + after))"
            " -> return bool(thought and answer) and (not before + between + after)": TRUE_IS_ONE,
        },
        "split_change": {
            "moved: new_share, new_worked, new_direct = after": UNRELATED,
            "moved: growth = new_share * (new_worked - worked)"
            " + (1 - new_share) * (new_direct - direct)": UNRELATED,
        },
        "read_tries": {
            "moved: says = int(chain.split('=')[-1])": UNRELATED,
            "moved: makes = sum(map(int, re.findall('[+-]?[0-9]+', expression)))": UNRELATED,
        },
    },
    "scaling_laws": {
        "count_flops": {"moved: attention = 12 * n_layers * d_model * length": UNRELATED},
        "huber_log_loss": {
            "miss = np.abs(np.log(predicted) - np.log(measured))"
            " -> miss = np.abs(np.log(measured) - np.log(predicted))": (
                "the sign goes with the absolute value"
            ),
            "return np.where(miss <= delta, miss ** 2 / 2, delta * (miss - delta / 2)).mean()"
            " -> return np.where(miss < delta, miss ** 2 / 2, delta * (miss - delta / 2)).mean()": (
                "parabola and line meet at delta"
            ),
        },
        "bootstrap_interval": {
            "moved: tail = (1 - share) / 2": UNRELATED,
            "dice = np.random.default_rng(0) -> dice = np.random.default_rng(1)": (
                "any seed gives a fair resample"
            ),
            "return tuple(np.quantile(values, [tail, 1 - tail]))"
            " -> return np.quantile(values, [tail, 1 - tail])": (
                "the two ends may stand in an array: the numbers decide"
            ),
        },
    },
    "pretraining": {
        "adamw_step": {"moved: v = 0.95 * v + 0.05 * grad ** 2": UNRELATED},
        "newton_schulz": {
            "X = 3.4445 * X - 4.775 * A @ X + 2.0315 * A @ A @ X"
            " -> X = 3.4445 * X - 4.775 * A @ X + A @ (2.0315 * A) @ X": (
                "a number may stand anywhere in a product of matrices"
            )
        },
        "wsd_rate": {"moved: down = (steps - step + 1) / decay": UNRELATED},
        "accumulated_gradient": {
            "gradient, count = (torch.zeros_like(theta), 0)"
            " -> gradient, count = (0, torch.zeros_like(theta))": (
                "a number and a tensor of equal numbers add and divide alike"
            ),
            "moved: count += n_tokens": UNRELATED,
            "gradient += torch.autograd.grad(total, theta)[0]"
            " -> gradient += torch.autograd.grad(total, theta)[-1]": "grad gives one gradient here",
        },
    },
    "human_feedback": {
        "calibration_error": {
            "moved: total = 0.0": UNRELATED,
            "for each in range(n_bins): -> for each in range(n_bins + 1):": (
                "no number is that high, and an empty bin adds nothing"
            ),
            "gap = said[row].mean() - held[row].double().mean()"
            " -> gap = held[row].double().mean() - said[row].mean()": "its absolute value is taken",
            "return total / len(said) -> return total / len(held)": "there is a truth for each",
        },
        "token_advantages": {
            "moved: advantages, ahead = (torch.zeros(len(values)), 0.0)": UNRELATED,
            "advantages, ahead = (torch.zeros(len(values)), 0.0)"
            " -> advantages, ahead = (torch.zeros(len(rewards)), 0.0)": "a reward for each value",
            "for t in reversed(range(len(values))): -> for t in reversed(range(len(rewards))):": (
                "a reward for each value"
            ),
        },
        "ppo_loss": {
            "return -torch.minimum(ratio * advantages, near * advantages).mean()"
            " -> return -torch.minimum(near * advantages, ratio * advantages).mean()": (
                "the smaller of two is the same in either order"
            )
        },
        "dpo_loss": {
            "return -F.logsigmoid(rewards[:, 0] - rewards[:, 1]).mean()"
            " -> return -F.logsigmoid(rewards[:, 0] - rewards[:, -1]).mean()": (
                "of two columns the second is the last"
            )
        },
        "best_of_n": {
            "no_better = (scores[None] <= scores[:, None]).to(probs.dtype) @ probs"
            " -> no_better = (scores[None] <= scores[:, None]).to(scores.dtype) @ probs": (
                "probabilities and scores are of one type"
            ),
            "no_better = (scores[None] <= scores[:, None]).to(probs.dtype) @ probs"
            " -> no_better = (scores <= scores[:, None]).to(probs.dtype) @ probs": (
                "broadcasting adds the axis in front"
            ),
        },
    },
    "inference": {
        "left_pad": {
            "moved: positions = torch.arange(width) - torch.tensor(missing)[:, None]": UNRELATED,
            "ids = [[0] * n + list(prompt) for n, prompt in zip(missing, prompts, strict=True)]"
            " -> ids = [[0] * n + prompt for n, prompt in zip(missing, prompts, strict=True)]": (
                "the statement says that prompts are lists"
            ),
            "return (torch.tensor(ids), positions < 0, positions.clamp(min=0))"
            " -> return (ids, positions < 0, positions.clamp(min=0))": (
                "tables may be lists: the numbers decide"
            ),
        },
        "admit_requests": {"moved: free_tokens -= n_tokens": UNRELATED},
        "accept_or_resample": {
            "moved: missing = (p - q).clamp(min=0)": "it only computes sooner what is needed later",
            "line = missing.cumsum(0) -> line = missing.cumsum(-1)": ONE_AXIS,
            "return int((line <= resample_point * line[-1]).sum())"
            " -> return (line <= resample_point * line[-1]).sum()": (
                "a tensor of one number is taken as the number"
            ),
        },
        "quantize_row": {
            "scales = groups.abs().amax(1) / (2 ** (bits - 1) - 1)"
            " -> scales = groups.abs().amax(-1) / (2 ** (bits - 1) - 1)": TWO_AXES,
            "return (codes.round().flatten().to(torch.int8), scales)"
            " -> return (codes.round().flatten(), scales)": "the numbers decide, not their type",
        }
        | {
            "codes = groups / torch.where(scales > 0, scales, 1.0)[:, None]"
            f" -> codes = groups / torch.where({other})[:, None]": (
                "zeros over any number are 0, and 0 / 0 becomes 0 when NaN is made int8 on the CPU"
            )
            for other in (
                "scales > 0, scales, 2.0",
                "scales > 0, scales, 0.5",
                "scales > 0, scales, 0.0",
                "scales > 0, scales, -1.0",
                "scales >= 0, scales, 1.0",
                "scales > -1, scales, 1.0",
            )
        },
    },
    "dense_transformer": {
        "multi_step_rate": {
            "if n_read < n_warmup: -> if n_read <= n_warmup:": (
                "at the end of the warm-up both cases give the peak"
            )
        },
        "read_config": {
            "moved: rope = config.get('rope_parameters') or config": UNRELATED,
            "return {'n_kv_heads': config.get('num_key_value_heads') or n_heads,"
            " 'd_head': config.get('head_dim') or config['hidden_size'] // n_heads,"
            " 'rope_base': rope.get('rope_theta', 10000.0),"
            " 'tied': config.get('tie_word_embeddings', False)}"
            " -> return {'n_kv_heads': config.get('num_key_value_heads') or n_heads,"
            " 'd_head': config.get('head_dim') or config['hidden_size'] / n_heads,"
            " 'rope_base': rope.get('rope_theta', 10000.0),"
            " 'tied': config.get('tie_word_embeddings', False)}": WHOLE_QUOTIENT,
        },
        "llama_parameters": {
            "moved: tables = (1 if config['tie_word_embeddings'] else 2)"
            " * config['vocab_size'] * d_model": UNRELATED
        }
        | SHARED_WIDTH,
        "forward_flops": SHARED_WIDTH,
    },
    "grpo": {
        "advantages_of_groups": {
            "return (groups - groups.mean(-1, keepdim=True)).flatten()"
            " -> return (groups - groups.mean(1, keepdim=True)).flatten()": TWO_AXES
        },
        "clipped_objective": {
            "return torch.minimum(ratio * advantages, ratio.clamp(1 - low, 1 + high) * advantages)"
            " -> return torch.minimum(ratio.clamp(1 - low, 1 + high) * advantages,"
            " ratio * advantages)": "the smaller of two is the same in either order"
        },
        "group_loss": {
            "moved: if how == 'token': ; return -sums.sum() / mask.sum()": (
                "of three branches with a condition each, which stands first is all the same"
            ),
            "sums = (gains * mask).sum(-1) -> sums = (gains * mask).sum(1)": TWO_AXES,
            "return -(sums / mask.sum(-1)).mean() -> return -(sums / mask.sum(1)).mean()": TWO_AXES,
        },
        "sequence_ratio": {
            "total = ((log_probs - old_log_probs) * mask).sum(-1)"
            " -> total = ((log_probs - old_log_probs) * mask).sum(1)": TWO_AXES,
            "return (total / mask.sum(-1)).exp() -> return (total / mask.sum(1)).exp()": TWO_AXES,
        },
        "probability_score": {
            "except (TypeError, ValueError, ZeroDivisionError):"
            " -> except (ValueError, TypeError, ZeroDivisionError):": CAUGHT_TOGETHER,
            "except (TypeError, ValueError, ZeroDivisionError):"
            " -> except (TypeError, ZeroDivisionError, ValueError):": CAUGHT_TOGETHER,
            "return 1.0 if abs(value - Fraction(truth)) <= Fraction(1, 10000) else 0.1"
            " -> return 1.0 if abs(value - Fraction(truth)) < Fraction(1, 10000) else 0.1": (
                "a float can't tell the border itself, so no case stands there"
            ),
            "return 1.0 if abs(value - Fraction(truth)) <= Fraction(1, 10000) else 0.1"
            " -> return 1.0 if abs(Fraction(truth) - value) <= Fraction(1, 10000) else 0.1": (
                "a distance is the same from both ends"
            ),
        },
    },
    "mixture_of_experts": {
        "top_k_gates": {
            "weights, chosen = logits.softmax(-1).topk(n_chosen)"
            " -> weights, chosen = logits.softmax(1).topk(n_chosen)": TWO_AXES,
            "return (chosen, weights / weights.sum(-1, keepdim=True) if normalise else weights)"
            " -> return (chosen, weights / weights.sum(1, keepdim=True) if normalise"
            " else weights)": TWO_AXES,
        },
        "mix_experts": {
            "out = out.index_add(0, token, weights[token, slot, None] * expert(x[token]))"
            " -> out = out.index_add(0, token, weights[token, None, slot] * expert(x[token]))": (
                "indices on both sides of a new axis put what they pick first: (M, 1) either way"
            )
        },
        "balance_loss": {
            "f = load * n_experts / (chosen.shape[1] * n_tokens)"
            " -> f = load * n_experts / (chosen.shape[-1] * n_tokens)": TWO_AXES
        },
        "allowed_experts": {
            "kept.scatter_(1, best.topk(n_limited_groups).indices, True)"
            " -> kept.scatter_(-1, best.topk(n_limited_groups).indices, True)": TWO_AXES,
            "return kept.repeat_interleave(n_experts // n_groups, dim=1)"
            " -> return kept.repeat_interleave(n_experts // n_groups, dim=-1)": TWO_AXES,
        },
        "kept_visits": {
            "return torch.tensor(kept) -> return kept": "a list of booleans is a mask as well"
        },
    },
    "compressed_attention": {
        "cache_bytes": {"moved: if rate == 4: ; total += index_bytes / rate": UNRELATED},
        "rotate_entries": {
            "moved: first, second = (entries[:, -width::2], entries[:, 1 - width::2])": UNRELATED,
            "moved: placed = entries.clone()": UNRELATED,
            "moved: placed[:, 1 - width::2] = first * sin + second * cos": UNRELATED,
            "first, second = (entries[:, -width::2], entries[:, 1 - width::2])"
            " -> first, second = (entries[:, -width:-1:2], entries[:, 1 - width::2])": EVEN_WIDTH,
            "placed[:, -width::2] = first * cos - second * sin"
            " -> placed[:, -width:-1:2] = first * cos - second * sin": EVEN_WIDTH,
        },
        "readable": {
            "moved: blocks = (i + 1) * rate <= t + 1": UNRELATED,
            "return torch.cat([tokens, blocks], dim=1)"
            " -> return torch.cat([tokens, blocks], dim=-1)": TWO_AXES,
        },
        "overlap_rows": {"moved: gate_to_next, own_gate = gate.chunk(2, dim=-1)": UNRELATED},
        "shared_kv_output": {
            "scores = (q @ kv.T / q.shape[-1] ** 0.5).masked_fill(~visible, -torch.inf)"
            " -> scores = (q @ kv.T / q.shape[1] ** 0.5).masked_fill(~visible, -torch.inf)": (
                TWO_AXES
            ),
            "scores = (q @ kv.T / q.shape[-1] ** 0.5).masked_fill(~visible, -torch.inf)"
            " -> scores = (q @ kv.T / kv.shape[-1] ** 0.5).masked_fill(~visible, -torch.inf)": (
                WIDTHS
            ),
            "with_sink = torch.cat([scores, torch.full_like(scores[:, :1], sink)], dim=1)"
            " -> with_sink = torch.cat([scores, torch.full_like(scores[:, :1], sink)], dim=-1)": (
                TWO_AXES
            ),
            "weights = with_sink.softmax(dim=1)[:, :-1]"
            " -> weights = with_sink.softmax(dim=-1)[:, :-1]": TWO_AXES,
            "return turn(weights @ kv, -torch.arange(len(q)))"
            " -> return turn(weights @ kv, -torch.arange(len(visible)))": (
                "there is a row of what is visible for each query"
            ),
        },
    },
    "latent_attention": {
        "latent_factors": {
            "moved: U, S, Vh = torch.linalg.svd(weight, full_matrices=False)": (
                "a rank that is too wide is refused as well after the decomposition"
            ),
            "raise ValueError(f'rank {rank} is wider than a matrix of {tuple(weight.shape)}')"
            " -> raise ValueError(f'rank x{rank} is wider than a matrix of"
            " {tuple(weight.shape)}')": "the words of the message are free",
            "raise ValueError(f'rank {rank} is wider than a matrix of {tuple(weight.shape)}')"
            " -> raise ValueError(f'rank {rank} is wider than a matrix of"
            " x{tuple(weight.shape)}')": "the words of the message are free",
            "raise ValueError(f'rank {rank} is wider than a matrix of {tuple(weight.shape)}')"
            " -> raise ValueError(f'rank {weight} is wider than a matrix of"
            " {tuple(weight.shape)}')": "it prints the matrix, in which the numbers occur",
            "raise ValueError(f'rank {rank} is wider than a matrix of {tuple(weight.shape)}')"
            " -> raise ValueError(f'rank {rank} is wider than a matrix of {weight.shape}')": (
                "it prints the same numbers"
            ),
        }
        | {
            "U, S, Vh = torch.linalg.svd(weight, full_matrices=False)"
            f" -> U, S, Vh = torch.linalg.svd({other})": (
                "what is there more is cut away: only the first columns and rows are kept"
            )
            for other in ("weight", "weight, full_matrices=True")
        },
        "decoupled_scores": {
            "width = q_content.shape[-1] + q_rotary.shape[-1]"
            f" -> width = {other}": "a key's parts are as wide as a query's"
            for other in (
                "k_content.shape[-1] + q_rotary.shape[-1]",
                "q_content.shape[-1] + k_rotary.shape[-1]",
            )
        },
        "yarn_scales": {
            "moved: everywhere = 0.1 * mscale_all_dim * math.log(factor) + 1": UNRELATED
        },
    },
    "real_model": {
        "dequantize_block": {
            "moved: codes = [byte & 15 for byte in block[4:]]"
            " + [byte >> 4 for byte in block[4:]]": UNRELATED
        },
        "to_halves": {
            "return torch.cat([heads[:, ::2], heads[:, 1::2]], dim=1).flatten(0, 1)"
            " -> return torch.cat([heads[:, :-1:2], heads[:, 1::2]], dim=1).flatten(0, 1)": (
                "heads have an even number of rows, so the last is not among the even ones"
            )
        },
        "token_bytes": {
            "moved: weights, n_bytes = blocks[form]": UNRELATED,
            "total += rows * columns // weights * n_bytes"
            " -> total += rows * columns / weights * n_bytes": WHOLE_QUOTIENT,
        },
    },
    "supervised_fine_tuning": {
        "answer_targets": {
            "moved: targets = [token if learn else -100 for piece, learn in pieces"
            " for token in piece]": UNRELATED
        },
        "answer_loss": {
            "wanted = targets.where(counts, 0) -> wanted = targets.where(counts, 1)": (
                "any token may be looked up where nothing counts"
            ),
            "surprise = -logits.log_softmax(-1).gather(-1, wanted[..., None])[..., 0]"
            " -> surprise = -logits.log_softmax(-1).gather(-1, wanted[..., None])[..., -1]": (
                "the last axis holds one number"
            ),
        },
        "packed_mask": {
            "same = examples[:, :, None] == examples[:, None, :]"
            " -> same = examples[:, :, None] == examples[:, None]": (
                "an axis that is not named is taken whole"
            )
        },
        "best_low_rank": {
            "U, S, Vh = torch.linalg.svd(change, full_matrices=False)"
            f" -> U, S, Vh = torch.linalg.svd({other})": (
                "what is there more is cut away: only the first columns and rows are kept"
            )
            for other in ("change", "change, full_matrices=True")
        },
    },
    "sparse_attention": {
        "indexer_scores": {
            "moved: matches = torch.einsum('thd,sd->ths', q, keys).relu()": UNRELATED
        },
        "index_keys": {
            "normed = F.layer_norm(made, made.shape[-1:], gain, bias, eps=1e-06)"
            f" -> normed = F.layer_norm(made, {other}, gain, bias, eps=1e-06)": (
                "gain and bias are as wide as a key, and the table has two axes"
            )
            for other in ("gain.shape[-1:]", "bias.shape[-1:]", "made.shape[1:]")
        }
        | {
            "rotated, kept = normed.tensor_split([2 * angles.shape[-1]], dim=-1)"
            f" -> rotated, kept = normed.tensor_split({other})": TWO_AXES
            for other in ("[2 * angles.shape[-1]], dim=1", "[2 * angles.shape[1]], dim=-1")
        }
        | {
            "return torch.cat([rotate_halves(rotated, angles), kept], dim=-1)"
            " -> return torch.cat([rotate_halves(rotated, angles), kept], dim=1)": TWO_AXES
        },
        "choose_few": {
            "best = hidden.sort(dim=-1, descending=True, stable=True).indices[:, :k]"
            f" -> best = hidden.sort({other}).indices[:, :k]": reason
            for other, reason in (
                ("descending=True, stable=True", "the last axis is sorted unless one is named"),
                ("dim=1, descending=True, stable=True", TWO_AXES),
                ("dim=-1, descending=True", "on a CPU torch sorts stably without being asked"),
                (
                    "dim=-1, descending=True, stable=False",
                    "on a CPU torch sorts stably without being asked",
                ),
            )
        }
        | {
            "return torch.zeros(T, S).bool().scatter(1, best, True) & visible"
            " -> return torch.zeros(T, S).bool().scatter(-1, best, True) & visible": TWO_AXES
        },
        "mass_recall": {
            "return (weights.mean(0) * selected).sum(-1)"
            " -> return (weights.mean(0) * selected).sum(1)": TWO_AXES
        },
        "indexer_kl": {
            "moved: log_index = scores.masked_fill(~selected, -torch.inf).log_softmax(-1)": (
                UNRELATED
            ),
            "target = weights.detach().sum(0) -> target = weights.detach().mean(0)": (
                "the rows are divided by their sum, so that a common factor is gone"
            ),
            "target = target / target.sum(-1, keepdim=True)"
            " -> target = target / target.sum(1, keepdim=True)": TWO_AXES,
            "log_index = scores.masked_fill(~selected, -torch.inf).log_softmax(-1)"
            " -> log_index = scores.masked_fill(~selected, -torch.inf).log_softmax(1)": TWO_AXES,
            "log_index = log_index.masked_fill(~selected, 0.0)"
            " -> log_index = log_index.masked_fill(~selected, 1.0)": (
                "any finite number will do: there the target is 0"
            ),
            "return F.kl_div(log_index, target, reduction='none').sum(-1).mean()"
            " -> return F.kl_div(log_index, target, reduction='none').sum(1).mean()": TWO_AXES,
        },
        "decode_costs": {"moved: indexer = context * index_heads * index_dim": UNRELATED},
    },
    "xlnet": {
        "unseen_in_order": {
            "not_before = rank[None, :] >= rank[:, None] -> not_before = rank >= rank[:, None]": (
                "a row is compared with every row of a table"
            ),
            "not_before = rank[None, :] >= rank[:, None]"
            " -> not_before = rank[:,] >= rank[:, None]": (
                "a row is compared with every row of a table"
            ),
            "not_before = rank[None, :] >= rank[:, None]"
            " -> not_before = rank[None,] >= rank[:, None]": (
                "an axis that is not named is taken whole"
            ),
        },
        "scores_by_key": {
            "return scores.gather(1, T - distance) -> return scores.gather(-1, T - distance)": (
                TWO_AXES
            )
        },
    },
}
