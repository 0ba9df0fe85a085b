// Sums: what a reader may type, what is said where R1 has never practised such a sum, and whether an answer is right.
"use strict";

window.R1Alive = window.R1Alive || {};

(function (alive) {
  const MAX_PARTIAL = 20; // R1 has read and practised sums whose results on the way stay in 0..20,
  const MAX_NUMBERS = 6; // practised them with three to six numbers,
  const MAX_CHARACTERS = 60; // and reads 256 tokens at most, its own thought included

  // What was typed, in the signs that R1 knows and without a question's end: " 7 + 5 − 3 =? " is "7+5-3".
  function plainSum(typed) {
    return typed.replace(/[\u2010-\u2013\u2212\ufe63\uff0d]/g, "-").replace(/\uff0b/g, "+").replace(/\s/g, "").replace(/=?\??$/, "");
  }

  // What keeps a text from being a sum at all, said kindly; "" if nothing does.
  function faultOf(sum) {
    const odd = sum.match(/[^0-9+-]/u);
    if (!sum) return "Type a sum first, for example 7+5-3+8.";
    if (/[0-9][*/×÷·:][0-9]/.test(sum)) return "R1 has learnt + and - alone; it does not multiply or divide. Try 7+5-3+8.";
    if (/[0-9][.,][0-9]/.test(sum)) return "R1 has learnt whole numbers alone. Try 7+5-3+8.";
    if (odd) return `A sum has digits, + and - alone; "${odd[0]}" is something else. Try 7+5-3+8.`;
    if (sum.length > MAX_CHARACTERS) return `These are ${sum.length} signs. R1's memory holds a question and its thought; ask it up to ${MAX_CHARACTERS} signs.`;
    if (!/^[0-9]+([+-][0-9]+)*$/.test(sum)) return "A sum begins and ends with a number, and one + or - stands between two numbers, as in 7+5-3+8.";
    if (!/[+-]/.test(sum)) return "One number is no sum yet: add or subtract another, as in 7+5-3+8.";
    return "";
  }

  function readChain(sum) {
    const signed = sum.match(/[+-]?[0-9]+/g).map(Number);
    const partialResults = [];
    signed.forEach((number, i) => partialResults.push((partialResults[i - 1] || 0) + number));
    return { numbers: signed.map(Math.abs), partialResults, answer: String(partialResults.at(-1)) };
  }

  // What R1 has not practised about a sum; "" if it has. Such a sum may be tried all the same: one learns from it.
  function whatIsNew(sum) {
    const { numbers, partialResults } = readChain(sum);
    const strange = numbers.find((number) => number < 1 || number > 9);
    const far = partialResults.find((value) => value < 0 || value > MAX_PARTIAL);
    if (strange !== undefined) return `R1 has practised the numbers 1 to 9, and here is ${strange}.`;
    if (numbers.length > MAX_NUMBERS) return `R1 has practised sums of up to ${MAX_NUMBERS} numbers, and these are ${numbers.length}.`;
    if (far !== undefined) return `R1 has practised results from 0 to ${MAX_PARTIAL}, and this sum passes through ${far}.`;
    return "";
  }

  // The checksum of zip files, which decides what is held out: no list is needed, and all agree.
  function crc32(text) {
    let crc = ~0;
    for (const byte of new TextEncoder().encode(text)) {
      crc ^= byte;
      for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
    }
    return ~crc >>> 0;
  }

  // One sum in ten was kept out of every text that R1 read or practised.
  const isHeldOut = (sum) => readChain(sum).numbers.length >= 3 && crc32(`${sum}=?`) % 10 === 0;

  // The answer that a text arrives at, or null: what its last answer tags hold. What is only thought is no answer, nor is
  // what stands before the end of a thought.
  function finalAnswer(text) {
    const said = text.slice(text.lastIndexOf("</think>") + 1);
    if (said.includes("<think>")) return null; // it breaks off inside a thought
    const found = [...said.matchAll(/<answer>([^<]*)<\/answer>/g)].at(-1);
    return found ? found[1].trim() : null;
  }

  function verifyAnswer(sum, text) {
    const truth = readChain(sum).answer, answer = finalAnswer(text);
    if (answer === null) return { right: false, reason: `no answer found; ${sum} is ${truth}` };
    const right = answer === truth;
    return { right, reason: `${sum} is ${truth}` + (right ? "" : `, not ${answer}`) };
  }

  Object.assign(alive, { faultOf, finalAnswer, isHeldOut, plainSum, readChain, verifyAnswer, whatIsNew });
})(window.R1Alive);
