/** @file Writing a protocol buffer, field by field. Large contents are kept by reference and copied once, at the end. */

/** Contents from this size on are not copied into the growing message. */
const large = 4096;

/** A message under construction. Absent fields are simply not written. */
export class Message {
  /** What is complete, and its size; behind it come `#length` bytes of `#last`. */
  readonly #pieces: Uint8Array[] = [];
  #size = 0;
  #last: Uint8Array = new Uint8Array(32);
  #length = 0;

  #reserve(count: number): void {
    if (this.#length + count <= this.#last.length) return;
    const grown = new Uint8Array(Math.max(2 * this.#last.length, this.#length + count));
    grown.set(this.#last.subarray(0, this.#length));
    this.#last = grown;
  }

  #varint(value: number): void {
    this.#reserve(10);
    let rest = value;
    for (; rest > 127; rest = Math.floor(rest / 128)) this.#last[this.#length++] = (rest % 128) | 128;
    this.#last[this.#length++] = rest;
  }

  #copy(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#last.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  #keep(pieces: readonly Uint8Array[]): void {
    for (const piece of [this.#last.subarray(0, this.#length), ...pieces]) {
      this.#pieces.push(piece);
      this.#size += piece.length;
    }
    this.#last = new Uint8Array(large);
    this.#length = 0;
  }

  #tag(field: number, wire: 0 | 2 | 5): void {
    this.#varint(field * 8 + wire);
  }

  /** An integer; a negative one takes its 64-bit complement. */
  int(field: number, value: number): this {
    this.#tag(field, 0);
    if (value >= 0) this.#varint(value);
    else {
      this.#reserve(10);
      let rest = BigInt.asUintN(64, BigInt(value));
      for (; rest > 127n; rest >>= 7n) this.#last[this.#length++] = Number(rest & 127n) | 128;
      this.#last[this.#length++] = Number(rest);
    }
    return this;
  }

  float(field: number, value: number): this {
    this.#tag(field, 5);
    this.#copy(new Uint8Array(Float32Array.of(value).buffer));
    return this;
  }

  /** Text of ASCII letters: every name in our graphs is. */
  text(field: number, value: string): this {
    this.#tag(field, 2);
    this.#varint(value.length);
    this.#reserve(value.length);
    for (let i = 0; i < value.length; i++) this.#last[this.#length++] = value.charCodeAt(i);
    return this;
  }

  bytes(field: number, value: Uint8Array): this {
    this.#tag(field, 2);
    this.#varint(value.length);
    if (value.length < large) this.#copy(value);
    else this.#keep([value]);
    return this;
  }

  message(field: number, value: Message): this {
    this.#tag(field, 2);
    this.#varint(value.#size + value.#length);
    if (value.#pieces.length > 0) this.#keep(value.#pieces);
    this.#copy(value.#last.subarray(0, value.#length));
    return this;
  }

  /** The bytes of the whole message. */
  finish(): Uint8Array {
    this.#keep([]);
    const out = new Uint8Array(this.#size);
    let at = 0;
    for (const piece of this.#pieces) {
      out.set(piece, at);
      at += piece.length;
    }
    return out;
  }
}
