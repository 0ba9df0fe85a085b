// From text to token ids and back: byte-pair encoding as lesson 03 builds it, and the prompt that a question becomes.
// A token's bytes are written as a string of characters 0 to 255, as in the stored file.
"use strict";

window.R1Alive = window.R1Alive || {};

(function (alive) {
  const END_OF_TEXT = "<|endoftext|>";

  const bytesOf = (text) => String.fromCharCode(...new TextEncoder().encode(text));

  class Tokenizer {
    constructor({ pattern, special_tokens, tokens }) {
      // JavaScript wants scripts named as such; else the pattern is the stored one.
      this.pattern = new RegExp(pattern.replaceAll("\\p{Han}", "\\p{Script=Han}"), "gu");
      this.ranks = new Map(Object.entries(tokens));
      this.specialTokens = special_tokens;
      this.bytes = new Map(Array.from(this.ranks, ([token, rank]) => [rank, token]));
      for (const [name, id] of Object.entries(special_tokens)) this.bytes.set(id, bytesOf(name));
    }

    // No merge crosses the border between two pieces. Special tokens are not looked for: a reader can't write them.
    encode(text) {
      return (text.match(this.pattern) || []).flatMap((piece) => this.encodePiece(bytesOf(piece)));
    }

    // Start from bytes; join the neighbours that rank lowest, until none make a token.
    encodePiece(piece) {
      if (this.ranks.has(piece)) return [this.ranks.get(piece)];
      let parts = Array.from(piece);
      for (;;) {
        const joined = parts.slice(1).map((part, i) => this.ranks.get(parts[i] + part) ?? Infinity);
        const best = Math.min(...joined);
        if (best === Infinity) return parts.map((part) => this.ranks.get(part));
        parts = joinEverywhere(parts, this.bytes.get(best));
      }
    }

    // The ids' text. Half a character, where a text is cut, becomes the replacement sign.
    decode(ids) {
      const bytes = Array.from(ids, (id) => this.bytes.get(id)).join("");
      return new TextDecoder().decode(Uint8Array.from(bytes, (char) => char.charCodeAt(0)));
    }
  }

  // Join each pair of neighbours that makes the token, from left to right.
  function joinEverywhere(parts, token) {
    const out = [];
    for (let i = 0; i < parts.length; i++) {
      const joins = i + 1 < parts.length && parts[i] + parts[i + 1] === token;
      out.push(joins ? token : parts[i]);
      if (joins) i++;
    }
    return out;
  }

  // What R1 reads: the end of another text, the question, and the beginning of an answer.
  function questionPromptIds(tokenizer, question) {
    const text = `User: ${question}\nAssistant: `;
    return [tokenizer.specialTokens[END_OF_TEXT], ...tokenizer.encode(text)];
  }

  Object.assign(alive, { END_OF_TEXT, Tokenizer, questionPromptIds });
})(window.R1Alive);
