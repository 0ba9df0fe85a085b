// R1's model, DeepSeek-V3 as lessons 19 to 21 build it: latent attention with its cache, experts behind a router whose bias
// balances them. The names are course_lib's. It reads one token at a time, so every tensor of a token is one vector.
//
// Letters as in the course: C d_model, H heads, D and Dr the content and rotary widths of a query or key, Dv a value's
// width, R the latent's, E experts, K chosen ones, S tokens in the cache.
"use strict";

window.R1Alive = window.R1Alive || {};

(function (alive) {
  // ------------------------------------------------------------------------------------ weights

  // A safetensors file is the length of a header (8 bytes), the header (JSON: name -> dtype, shape, where), and the numbers.
  function readSafetensors(buffer) {
    const length = Number(new DataView(buffer).getBigUint64(0, true)), begin = 8 + length;
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
    const tensors = {};
    for (const [name, { dtype, shape, data_offsets }] of Object.entries(header)) {
      if (name === "__metadata__") continue;
      if (dtype !== "F32") throw new Error(`${name} is ${dtype}; only F32 is read here`);
      const [first, end] = data_offsets.map((offset) => begin + offset);
      tensors[name] = { shape, data: new Float32Array(buffer.slice(first, end)) };
    }
    return tensors;
  }

  // Rows `first` to `end` of a matrix, or matrices of a stack, without copying them.
  function rows({ shape: [, ...rest], data }, first, end) {
    const size = rest.reduce((a, b) => a * b, 1);
    return { shape: [end - first, ...rest], data: data.subarray(first * size, end * size) };
  }

  // One row of a matrix as a vector, or one matrix of a stack.
  function at(tensor, index) {
    const { shape, data } = rows(tensor, index, index + 1);
    return shape.length === 2 ? data : { shape: shape.slice(1), data };
  }

  // ------------------------------------------------------------------------------- small functions

  // Sums are reckoned in JavaScript's 64 bits and kept in 32, so they differ from torch's in the last digits alone.
  function dot(a, b) {
    let sum = 0;
    for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
    return sum;
  }

  // weight @ x. The innermost loop of it all: it walks through the matrix as it lies in memory.
  function linear({ shape: [nOut, nIn], data }, x) {
    const out = new Float32Array(nOut);
    for (let o = 0, w = 0; o < nOut; o++) {
      let sum = 0;
      for (let i = 0; i < nIn; i++) sum += data[w++] * x[i];
      out[o] = sum;
    }
    return out;
  }

  // weights @ vectors: the weighted sum of vectors, which is x @ matrix where the vectors are the matrix's rows.
  function weightedSum(weights, vectors) {
    const out = new Float32Array(vectors[0].length);
    vectors.forEach((vector, n) => {
      for (let i = 0; i < out.length; i++) out[i] += weights[n] * vector[i];
    });
    return out;
  }

  const add = (a, b) => a.map((number, i) => number + b[i]);
  const silu = (z) => z / (1 + Math.exp(-z));
  const sigmoid = (z) => 1 / (1 + Math.exp(-z));

  function rmsNorm(x, weight, eps) {
    const scale = 1 / Math.sqrt(dot(x, x) / x.length + eps);
    return x.map((number, i) => number * scale * weight[i]);
  }

  function softmax(scores) {
    const largest = Math.max(...scores); // e to a large score would be infinite
    const powers = scores.map((score) => Math.exp(score - largest));
    const total = powers.reduce((a, b) => a + b, 0);
    return powers.map((power) => power / total);
  }

  function argmax(numbers) {
    let best = 0;
    for (let i = 1; i < numbers.length; i++) if (numbers[i] > numbers[best]) best = i;
    return best;
  }

  // --------------------------------------------------------------------------------- positions

  // Number i is turned with number i + width/2, by position * base^(-2i / width).
  function rotateHalves(x, position, base) {
    const half = x.length / 2, out = new Float32Array(x.length);
    for (let i = 0; i < half; i++) {
      const angle = position * base ** (-2 * i / x.length);
      const cos = Math.cos(angle), sin = Math.sin(angle);
      out[i] = x[i] * cos - x[half + i] * sin;
      out[half + i] = x[i] * sin + x[half + i] * cos;
    }
    return out;
  }

  // --------------------------------------------------------------------------- latent attention

  // What one layer keeps of the tokens that it has read: a latent and a rotary key each, whatever the number of heads.
  class KVCache {
    constructor() {
      this.latents = [];
      this.rotaryKeys = [];
    }
    get length() { return this.latents.length; }
    append(latent, rotaryKey) {
      this.latents.push(latent);
      this.rotaryKeys.push(rotaryKey);
    }
  }

  // One head's attention without any key or value: the query comes down to the latent's width (upK^T q), meets the latents
  // there, and upV makes the head's output from their average. (Lesson 19: a score q . (upK c) is (upK^T q) . c.)
  function absorbedAttention(qContent, qRotary, cache, upK, upV) {
    const scale = 1 / Math.sqrt(qContent.length + qRotary.length);
    const qLatent = weightedSum(qContent, Array.from(qContent, (_, d) => at(upK, d)));
    const scores = cache.latents.map(
      (latent, s) => scale * (dot(qLatent, latent) + dot(qRotary, cache.rotaryKeys[s])),
    );
    return linear(upV, weightedSum(softmax(scores), cache.latents));
  }

  class MLA {
    constructor(settings, weight) {
      this.settings = settings;
      this.weight = weight;
    }

    forward(x, cache) {
      const { n_heads, qk_nope_head_dim: D, v_head_dim: Dv } = this.settings;
      const position = cache.length;
      const queries = this.queries(x, position);
      cache.append(...this.latents(x, position)); // a token sees itself, so it is kept first
      const mixed = new Float32Array(n_heads * Dv);
      queries.forEach(([content, rotary], h) => {
        const up = h * (D + Dv); // kv_up holds upK and upV head by head
        const upK = rows(this.weight("kv_up"), up, up + D), upV = rows(this.weight("kv_up"), up + D, up + D + Dv);
        mixed.set(absorbedAttention(content, rotary, cache, upK, upV), h * Dv);
      });
      return linear(this.weight("out"), mixed);
    }

    // Each head's query in two parts: what it asks for, and the part that knows the position.
    queries(x, position) {
      const { n_heads, qk_nope_head_dim: D, qk_rope_head_dim: Dr, rope_base } = this.settings;
      const low = rmsNorm(linear(this.weight("q_down"), x), this.weight("q_latent_norm").data, 1e-6);
      const q = linear(this.weight("q_up"), low);
      return Array.from({ length: n_heads }, (_, h) => {
        const head = q.subarray(h * (D + Dr), (h + 1) * (D + Dr));
        return [head.subarray(0, D), rotateHalves(head.subarray(D), position, rope_base)];
      });
    }

    // What the cache holds: the normed latent, and the one rotary key that all heads share.
    latents(x, position) {
      const { kv_lora_rank: R, rope_base } = this.settings;
      const down = linear(this.weight("kv_down"), x);
      return [
        rmsNorm(down.subarray(0, R), this.weight("kv_latent_norm").data, 1e-6),
        rotateHalves(down.subarray(R), position, rope_base),
      ];
    }
  }

  // --------------------------------------------------------------------------------- experts

  function swiglu(x, gate, up, down) {
    const gated = linear(gate, x), wide = linear(up, x);
    return linear(down, wide.map((number, i) => silu(gated[i]) * number));
  }

  // V3's router. The bias decides who is chosen and is gone from what the chosen ones count: lesson 21.
  function routeSigmoid(logits, bias, nChosen) {
    const scores = Array.from(logits, sigmoid);
    const ranks = scores.map((score, e) => score + bias[e]);
    const chosen = scores.map((_, e) => e).sort((a, b) => ranks[b] - ranks[a]).slice(0, nChosen);
    const total = chosen.reduce((sum, e) => sum + scores[e], 1e-20);
    return chosen.map((expert) => ({ expert, weight: scores[expert] / total }));
  }

  // Send a token through the experts that it chooses, and through the shared one. The others cost nothing.
  function moe(x, settings, weight) {
    const { d_expert: F, n_chosen } = settings;
    const routing = routeSigmoid(linear(weight("router"), x), weight("router.bias").data, n_chosen);
    let out = swiglu(x, weight("shared.gate"), weight("shared.up"), weight("shared.down"));
    for (const { expert, weight: share } of routing) {
      const gateUp = at(weight("experts.gate_up"), expert); // the gate's F rows, then those of up
      const down = at(weight("experts.down"), expert);
      const said = swiglu(x, rows(gateUp, 0, F), rows(gateUp, F, 2 * F), down);
      out = out.map((number, i) => number + share * said[i]);
    }
    return out;
  }

  // --------------------------------------------------------------------------------- the model

  // What other DeepSeek models have and this page does not: better refused than wrong.
  const NOT_HERE = { tied: false, rope_scaling: null, q_norm: false, n_groups: 1, route_scale: 1, mtp: false };

  class DeepSeekV3 {
    constructor(settings, tensors) {
      for (const [name, wanted] of Object.entries(NOT_HERE)) {
        const given = settings[name] ?? wanted;
        if (given !== wanted) throw new Error(`${name} ${given} is not built here`);
      }
      this.settings = settings;
      this.tensors = tensors;
      this.attention = this.layers().map((layer) => new MLA(settings, this.weights(`blocks.${layer}.attention.`)));
    }

    layers() { return Array.from({ length: this.settings.n_layers }, (_, layer) => layer); }

    // A function from the short name of a weight to the weight: weights("blocks.0.mlp.")("gate").
    weights(prefix) {
      return (name) => {
        const tensor = this.tensors[`${prefix}${name}.weight`] || this.tensors[`${prefix}${name}`];
        if (!tensor) throw new Error(`there is no weight ${prefix}${name}`);
        return tensor;
      };
    }

    newCaches() { return this.layers().map(() => new KVCache()); }

    // Read one token; give the logits of the next. The caches hold all that is kept of the tokens before.
    forward(id, caches) {
      const { max_seq_len, norm_eps } = this.settings, weight = this.weights("");
      if (caches[0].length >= max_seq_len) throw new Error(`more than max_seq_len ${max_seq_len} tokens`);
      let x = at(weight("token_embedding"), id);
      for (const layer of this.layers()) x = this.block(layer, x, caches[layer]);
      return linear(weight("head"), rmsNorm(x, weight("norm").data, norm_eps));
    }

    // Look around, then think on one's own, each normed first and added to the stream.
    block(layer, x, cache) {
      const { n_dense_layers, norm_eps } = this.settings;
      const weight = this.weights(`blocks.${layer}.`), mlp = this.weights(`blocks.${layer}.mlp.`);
      x = add(x, this.attention[layer].forward(rmsNorm(x, weight("norm_1").data, norm_eps), cache));
      const normed = rmsNorm(x, weight("norm_2").data, norm_eps);
      const thought = layer < n_dense_layers
        ? swiglu(normed, mlp("gate"), mlp("up"), mlp("down"))
        : moe(normed, this.settings, mlp);
      return add(x, thought);
    }

    // Read the prompt, then write the likeliest token again and again, up to the stop token, which is given too.
    *writeGreedily(promptIds, stopToken, maxNewTokens) {
      const caches = this.newCaches();
      let logits;
      for (const id of promptIds) logits = this.forward(id, caches);
      for (let n = 0; n < maxNewTokens; n++) {
        const id = argmax(logits);
        yield id;
        if (id === stopToken) return;
        logits = this.forward(id, caches);
      }
    }
  }

  Object.assign(alive, { DeepSeekV3, readSafetensors });
})(window.R1Alive);
