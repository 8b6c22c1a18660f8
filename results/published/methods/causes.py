"""Why two orders do not hold on SmolLM2-135M: a second forward pass, in NumPy, that looks inside.

usage: causes.py MODEL.gguf IDS.json hqq|fp8|check
MODEL.gguf  .deps/models/SmolLM2-135M.gguf (weights Q4_1 and Q6_K)
IDS.json    what `bitsweep-runner generate --model MODEL.gguf --prompt TEXT --new-tokens 1 --format json` says of the
            beginning of the held-out text: its `prompt_ids` (2,048 or more)
check       perplexity of the unrounded model, to hold against the table's
hqq         of each kind of layer: error of the weights and of what they put out, with HQQ's zeros over the range's
fp8         KL divergence of 8-bit floats with one scale for the weight, one for a row, and with scales that are only moved
"""
import json
import struct
import sys

import numpy as np

WINDOW, WINDOWS = 512, 4


def read_gguf(path):
    data = np.memmap(path, dtype=np.uint8, mode="r")
    at = 4
    take = lambda form: struct.unpack_from("<" + form, data, at)[0]

    def text():
        nonlocal at
        size = take("Q")
        at += 8 + size
        return bytes(data[at - size:at]).decode()

    def value(kind):
        nonlocal at
        if kind == 8:
            return text()
        if kind == 9:
            inner, count = take("I"), struct.unpack_from("<Q", data, at + 4)[0]
            at += 12
            return [value(inner) for _ in range(count)]
        form = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}[kind]
        got = take(form)
        at += struct.calcsize(form)
        return got

    at += 4
    tensors, keys = struct.unpack_from("<QQ", data, at)
    at += 16
    meta = {}
    for _ in range(keys):
        name = text()
        kind = take("I")
        at += 4
        meta[name] = value(kind)
    places = {}
    for _ in range(tensors):
        name = text()
        dims = take("I")
        at += 4
        shape = struct.unpack_from(f"<{dims}Q", data, at)
        at += 8 * dims
        kind, offset = struct.unpack_from("<IQ", data, at)
        at += 12
        places[name] = (shape[::-1], kind, offset)
    base = (at + 31) // 32 * 32
    return meta, {name: (shape, kind, data[base + offset:]) for name, (shape, kind, offset) in places.items()}


def halves(raw):
    return np.ascontiguousarray(raw).view(np.float16).astype(np.float32)


def dense(tensor):
    """float32 of a tensor that is stored as F32, F16, Q4_1, Q8_0 or Q6_K."""
    shape, kind, data = tensor
    count = int(np.prod(shape))
    if kind == 0:
        return np.frombuffer(data[:4 * count].tobytes(), np.float32).reshape(shape)
    if kind == 1:
        return halves(data[:2 * count]).reshape(shape)
    if kind == 3:
        blocks = np.asarray(data[:count // 32 * 20]).reshape(-1, 20)
        codes = np.concatenate([blocks[:, 4:] & 15, blocks[:, 4:] >> 4], axis=1).astype(np.float32)
        return (halves(blocks[:, :2]) * codes + halves(blocks[:, 2:4])).reshape(shape)
    if kind == 8:
        blocks = np.asarray(data[:count // 32 * 34]).reshape(-1, 34)
        return (halves(blocks[:, :2]) * blocks[:, 2:].view(np.int8)).astype(np.float32).reshape(shape)
    if kind == 14:
        blocks = np.asarray(data[:count // 256 * 210]).reshape(-1, 210)
        low, high, scales = blocks[:, :128], blocks[:, 128:192], blocks[:, 192:208].view(np.int8)
        parts = []
        for half in range(2):
            l, h = low[:, 64 * half:64 * half + 64], high[:, 32 * half:32 * half + 32]
            for quarter in range(4):
                nibble = (l[:, 32 * (quarter % 2):32 * (quarter % 2) + 32] >> (4 * (quarter // 2))) & 15
                parts.append((nibble | ((h >> (2 * quarter)) & 3) << 4).astype(np.int32) - 32)
        codes = np.concatenate(parts, axis=1).astype(np.float32)
        wide = np.repeat(scales.astype(np.float32), 16, axis=1)
        return (halves(blocks[:, 208:210]) * wide * codes).reshape(shape)
    raise SystemExit(f"tensors of type {kind} are not read here")


KINDS = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"]


class Model:
    def __init__(self, path):
        meta, self.tensors = read_gguf(path)
        get = lambda name: meta["llama." + name]
        self.layers, self.heads = get("block_count"), get("attention.head_count")
        self.kv_heads, self.width = get("attention.head_count_kv"), get("embedding_length")
        self.eps, theta = get("attention.layer_norm_rms_epsilon"), get("rope.freq_base")
        self.dim = self.width // self.heads
        angles = np.outer(np.arange(WINDOW), theta ** (-np.arange(0, self.dim, 2) / self.dim))
        self.cos, self.sin = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
        self.embed = dense(self.tensors["token_embd.weight"])
        self.weights = {(i, kind): dense(self.tensors[f"blk.{i}.{kind}.weight"])
                        for i in range(self.layers) for kind in KINDS}

    def norm(self, x, name):
        scale = np.sqrt((x * x).mean(-1, keepdims=True) + self.eps)
        return x / scale * dense(self.tensors[name + ".weight"])

    def turn(self, x):
        """Rotary positions; the rows of a GGUF file's q and k stand in pairs."""
        a, b = x[..., 0::2], x[..., 1::2]
        cos, sin = self.cos[:, None], self.sin[:, None]
        return np.stack([a * cos - b * sin, a * sin + b * cos], axis=-1).reshape(x.shape)

    def logits(self, ids, weights, see=None):
        x = self.embed[ids]
        mask = np.triu(np.full((WINDOW, WINDOW), -np.inf, np.float32), 1)
        times = self.heads // self.kv_heads

        def linear(i, kind, y):
            if see:
                see(i, kind, y)
            return y @ weights[i, kind].T

        for i in range(self.layers):
            y = self.norm(x, f"blk.{i}.attn_norm")
            q = self.turn(linear(i, "attn_q", y).reshape(WINDOW, self.heads, self.dim))
            k = self.turn(linear(i, "attn_k", y).reshape(WINDOW, self.kv_heads, self.dim))
            v = linear(i, "attn_v", y).reshape(WINDOW, self.kv_heads, self.dim)
            heads = []
            for h in range(self.heads):
                score = q[:, h] @ k[:, h // times].T / np.sqrt(self.dim) + mask
                score = np.exp(score - score.max(-1, keepdims=True))
                heads.append(score / score.sum(-1, keepdims=True) @ v[:, h // times])
            x = x + linear(i, "attn_output", np.concatenate(heads, axis=1))
            y = self.norm(x, f"blk.{i}.ffn_norm")
            gate, up = linear(i, "ffn_gate", y), linear(i, "ffn_up", y)
            x = x + linear(i, "ffn_down", gate / (1 + np.exp(-gate)) * up)
        return self.norm(x, "output_norm") @ self.embed.T


def log_softmax(logits):
    logits = logits - logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def groups_of(weight, group=64):
    w = weight.reshape(weight.shape[0], -1, group)
    return w, np.minimum(w.min(-1, keepdims=True), 0), np.maximum(w.max(-1, keepdims=True), 0)


def int3_asym(weight, levels=7):
    w, low, high = groups_of(weight)
    scale = ((high - low) / levels).astype(np.float16).astype(np.float32)
    zero = np.clip(np.rint(-low / scale), 0, levels)
    return ((np.clip(np.rint(w / scale) + zero, 0, levels) - zero) * scale).reshape(weight.shape)


def int3_hqq(weight, levels=7, whole=False):
    """quant/hqq/README.md where no error reaches 0.17: Lloyd's rounds over codes and zero; `whole`: whole zeros only."""
    w, low, high = groups_of(weight)
    scale = ((high - low) / levels).astype(np.float16).astype(np.float32)
    stored = np.rint if whole else lambda zero: (zero - 4).astype(np.float16).astype(np.float32) + 4
    zero, least, open_ = stored(-low / scale), np.full(low.shape, np.inf), np.full(low.shape, True)
    best = zero
    for _ in range(20):
        code = np.clip(np.rint(w / scale + zero), 0, levels)
        error = np.abs(w - (code - zero) * scale).sum(-1, keepdims=True)
        open_ &= error < least
        least, best = np.where(open_, error, least), np.where(open_, zero, best)
        zero = stored((code - w / scale).mean(-1, keepdims=True))
    return ((np.clip(np.rint(w / scale + best), 0, levels) - best) * scale).reshape(weight.shape)


def e4m3(x):
    """To the nearest 8-bit float, ties to even."""
    size = np.abs(x)
    step = np.exp2(np.maximum(np.floor(np.log2(np.maximum(size, 1e-30))), -6) - 3)
    return np.sign(x) * np.minimum(np.rint(size / step) * step, 448)


def fp8(weight, by_row, moved=1.0):
    absmax = np.abs(weight).max(1, keepdims=True) if by_row else np.abs(weight).max()
    scale = absmax / 448 * moved
    return (e4m3(weight / scale) * scale).astype(np.float32)


def say_hqq(model, windows):
    """tr(E H E') / tr(W H W'), H the second moments of the inputs on the text; and with what of H alone."""
    moments = {}

    def see(i, kind, y):
        y = y.astype(np.float64)
        moments[i, kind] = moments.get((i, kind), 0) + y.T @ y
    for ids in windows:
        model.logits(ids, model.weights, see)
    print("HQQ's zeros over the range's, geometric mean of the layers; loud: the 1 % of columns with the largest inputs")
    print("kind          weights   output   columns apart   loud: weights' error   weights over the layer's   "
          "layers worse, worst")
    for kind in KINDS:
        ratios = []
        for i in range(model.layers):
            w, h = model.weights[i, kind], moments[i, kind]
            loud = np.argsort(np.diag(h))[-max(1, len(h) // 100):]
            figures = []
            for method in (int3_hqq, int3_asym):
                e = (method(w) - w).astype(np.float64)
                figures.append((float((e * e).sum()), float(((e @ h) * e).sum()), float(((e * e).sum(0) * np.diag(h)).sum()),
                                float((e[:, loud] ** 2).sum())))
            ratios.append([np.sqrt(a / b) for a, b in zip(*figures)] + [np.sqrt((w[:, loud] ** 2).mean() / (w ** 2).mean())])
        ratios = np.array(ratios)
        mean = np.exp(np.log(ratios).mean(0))
        print(f"{kind:12} {mean[0]:8.3f} {mean[1]:8.3f} {mean[2]:15.3f} {mean[3]:22.3f} {mean[4]:26.3f}   "
              f"{int((ratios[:, 1] > 1).sum())} of {model.layers}, {ratios[:, 1].max():.2f}", flush=True)
    exact = [log_softmax(model.logits(ids, model.weights))[:-1] for ids in windows]
    whole = lambda w: int3_hqq(w, whole=True)
    for name, of in (("the range's", lambda kind: int3_asym), ("HQQ's", lambda kind: int3_hqq),
                     ("HQQ's, whole ones only", lambda kind: whole),
                     ("HQQ's, whole ones in attn_v", lambda kind: whole if kind == "attn_v" else int3_hqq)):
        rounded = {(i, kind): of(kind)(w) for (i, kind), w in model.weights.items()}
        print(f"zeros: {name:30} KL {loss(model, windows, exact, rounded):.3f}", flush=True)


def loss(model, windows, exact, rounded):
    total = []
    for ids, true in zip(windows, exact):
        got = log_softmax(model.logits(ids, rounded))[:-1]
        total.append((np.exp(true) * (true - got)).sum(-1))
    return float(np.concatenate(total).mean())


def say_fp8(model, windows):
    exact = [log_softmax(model.logits(ids, model.weights))[:-1] for ids in windows]
    cases = [("one scale", False, None), ("one a row", True, None)]
    cases += [(f"one scale x 2^({k}/8)", False, 2 ** (k / 8)) for k in range(1, 8)]
    cases += [(f"one a row, each x 2^u, seed {seed}", True, seed) for seed in range(6)]
    for name, by_row, moved in cases:
        random = np.random.default_rng(moved if isinstance(moved, int) else 0)
        rounded = {}
        for key, w in model.weights.items():
            factor = moved or 1.0
            if by_row:
                factor = 1.0 if moved is None else np.exp2(random.random((len(w), 1)))
            rounded[key] = fp8(w, by_row, factor)
        error = np.sqrt(sum(((rounded[k] - w) ** 2).sum() for k, w in model.weights.items()) /
                        sum((w ** 2).sum() for w in model.weights.values()))
        print(f"{name:36} rms error {100 * error:.2f} %   KL {loss(model, windows, exact, rounded):.4f}", flush=True)


def main():
    if len(sys.argv) != 4 or sys.argv[3] not in ("hqq", "fp8", "check"):
        raise SystemExit(__doc__)
    model = Model(sys.argv[1])
    ids = np.array(json.load(open(sys.argv[2]))["prompt_ids"][:WINDOW * WINDOWS])
    windows = ids.reshape(WINDOWS, WINDOW)
    if sys.argv[3] == "check":
        nll = [-log_softmax(model.logits(w, model.weights))[np.arange(WINDOW - 1), w[1:]] for w in windows]
        print(f"perplexity {np.exp(np.concatenate(nll).mean()):.4f}")
        exact = [log_softmax(model.logits(w, model.weights))[:-1] for w in windows]
        for name, method in (("int3-g64-asym", int3_asym), ("hqq-int3-g64", int3_hqq)):
            rounded = {key: method(w) for key, w in model.weights.items()}
            print(f"{name}: KL {loss(model, windows, exact, rounded):.3f}", flush=True)
    else:
        {"hqq": say_hqq, "fp8": say_fp8}[sys.argv[3]](model, windows)


main()
