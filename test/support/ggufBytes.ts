/** @file GGUF files made by hand, correct or not. */

/** A little-endian writer of the pieces GGUF is made of. */
export class GgufBytes {
  private readonly bytes: number[] = [];

  get length(): number {
    return this.bytes.length;
  }
  u8(...values: number[]): this {
    this.bytes.push(...values);
    return this;
  }
  u32(...values: number[]): this {
    for (const value of values) this.u8(...new Uint8Array(Uint32Array.of(value).buffer));
    return this;
  }
  u64(...values: (number | bigint)[]): this {
    for (const value of values) this.u8(...new Uint8Array(BigUint64Array.of(BigInt(value)).buffer));
    return this;
  }
  string(text: string): this {
    const utf8 = new TextEncoder().encode(text);
    return this.u64(utf8.length).u8(...utf8);
  }
  /** Magic number, version, counts. */
  start(tensors: number | bigint, metadata: number | bigint, version = 3): this {
    return this.u8(...new TextEncoder().encode("GGUF"))
      .u32(version)
      .u64(tensors, metadata);
  }
  tensor(name: string, ne: (number | bigint)[], type: number, offset: number | bigint): this {
    return this.string(name)
      .u32(ne.length)
      .u64(...ne)
      .u32(type)
      .u64(offset);
  }
  /** Zeros up to a multiple of `alignment`, then `count` bytes 0, 1, 2 … */
  data(count: number, alignment = 32): this {
    while (this.bytes.length % alignment) this.u8(0);
    return this.u8(...Array.from({ length: count }, (_, i) => i & 255));
  }
  done(): Uint8Array {
    return Uint8Array.from(this.bytes);
  }
}
