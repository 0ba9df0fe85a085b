"""Mutants that no input within the statement can tell from the solution, each with the reason."""

TWO_AXES = "the exercise's table has two axes, so the last is axis 1"
ONE_AXIS = "the exercise's vector has one axis, so the last is axis 0"

EQUIVALENT: dict[str, dict[str, dict[str, str]]] = {
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
            "moved: first, second = x.chunk(2, dim=1)": "two statements that share no variable",
            "moved: cos, sin = (angles.cos(), angles.sin())": (
                "two statements that share no variable"
            ),
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
}
