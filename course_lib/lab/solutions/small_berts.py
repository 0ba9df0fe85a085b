"""Solutions of lesson 15, as its notebook quotes them."""

from collections.abc import Callable

from torch import Tensor


def factorised_parameters_solution(n_vocab: int, d_model: int, d_embedding: int) -> tuple[int, int]:
    return n_vocab * d_model, n_vocab * d_embedding + d_embedding * d_model


def layer_group_solution(layer: int, n_layers: int, n_hidden_groups: int) -> int:
    return layer // (n_layers // n_hidden_groups)


def shared_forward_solution(
    x: Tensor, blocks: list[Callable[[Tensor], Tensor]], n_layers: int
) -> Tensor:
    layers_per_group = n_layers // len(blocks)
    for layer in range(n_layers):
        x = blocks[layer // layers_per_group](x)
    return x


def order_pair_solution(
    sentences: list[list[int]], cut: int, swapped: bool
) -> tuple[list[int], list[int], int]:
    first = [token for sentence in sentences[:cut] for token in sentence]
    second = [token for sentence in sentences[cut:] for token in sentence]
    return (second, first, 1) if swapped else (first, second, 0)


def soft_loss_solution(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    wanted = (teacher / temperature).softmax(-1)
    got = (student / temperature).log_softmax(-1)
    divergence = (wanted * (wanted.log() - got)).sum(-1)
    return temperature**2 * divergence.mean()


def student_weights_solution(teacher: dict[str, Tensor], layers: list[int]) -> dict[str, Tensor]:
    student = {name: w for name, w in teacher.items() if not name.startswith("blocks.")}
    for number, layer in enumerate(layers):
        prefix = f"blocks.{layer}."
        for name, w in teacher.items():
            if name.startswith(prefix):
                student[f"blocks.{number}." + name.removeprefix(prefix)] = w
    return student
