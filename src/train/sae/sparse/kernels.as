// The sparse part of training a top-k SAE, in AssemblyScript; `scripts/build-kernels.mjs` compiles it into kernels.wasm.ts.
// Pointers are bytes, widths are multiples of 4 floats, pairs are (latent, value) lists of the tokens one after another.

/** out = base + Σ values · rows[latents]; the sum of its squares. */
export function addRows(out: usize, base: usize, rows: usize, latents: usize, values: usize, pairs: u32, width: u32): f64 {
  const bytes = <usize>width << 2;
  memory.copy(out, base, bytes);
  let p: u32 = 0;
  for (; p + 4 <= pairs; p += 4) {
    const at = latents + (<usize>p << 2);
    addFour(
      out,
      rows + <usize>load<u32>(at) * bytes,
      rows + <usize>load<u32>(at, 4) * bytes,
      rows + <usize>load<u32>(at, 8) * bytes,
      rows + <usize>load<u32>(at, 12) * bytes,
      v128.load(values + (<usize>p << 2)),
      bytes,
    );
  }
  for (; p < pairs; p++) {
    const row = rows + <usize>load<u32>(latents + (<usize>p << 2)) * bytes;
    addOne(out, row, f32x4.splat(load<f32>(values + (<usize>p << 2))), bytes);
  }
  return squares(out, width);
}

// @ts-ignore: decorator
@inline function addOne(out: usize, row: usize, value: v128, bytes: usize): void {
  for (let i: usize = 0; i < bytes; i += 16)
    v128.store(out + i, f32x4.add(v128.load(out + i), f32x4.mul(value, v128.load(row + i))));
}

/** Four rows at once: the sum is read and written once for them, and added up in their order. */
// @ts-ignore: decorator
@inline function addFour(out: usize, r0: usize, r1: usize, r2: usize, r3: usize, values: v128, bytes: usize): void {
  const v0 = v128.shuffle<f32>(values, values, 0, 0, 0, 0);
  const v1 = v128.shuffle<f32>(values, values, 1, 1, 1, 1);
  const v2 = v128.shuffle<f32>(values, values, 2, 2, 2, 2);
  const v3 = v128.shuffle<f32>(values, values, 3, 3, 3, 3);
  for (let i: usize = 0; i < bytes; i += 16) {
    let sum = f32x4.add(v128.load(out + i), f32x4.mul(v0, v128.load(r0 + i)));
    sum = f32x4.add(sum, f32x4.mul(v1, v128.load(r1 + i)));
    sum = f32x4.add(sum, f32x4.mul(v2, v128.load(r2 + i)));
    v128.store(out + i, f32x4.add(sum, f32x4.mul(v3, v128.load(r3 + i))));
  }
}

/** out[p] = vector · rows[latents[p]] */
export function dotRows(out: usize, vector: usize, rows: usize, latents: usize, pairs: u32, width: u32): void {
  const bytes = <usize>width << 2;
  for (let p: u32 = 0; p < pairs; p++) {
    const row = rows + <usize>load<u32>(latents + (<usize>p << 2)) * bytes;
    let a = f32x4.splat(0);
    let b = f32x4.splat(0);
    let c = f32x4.splat(0);
    let d = f32x4.splat(0);
    let i: usize = 0;
    for (; i + 64 <= bytes; i += 64) {
      a = f32x4.add(a, f32x4.mul(v128.load(vector + i), v128.load(row + i)));
      b = f32x4.add(b, f32x4.mul(v128.load(vector + i, 16), v128.load(row + i, 16)));
      c = f32x4.add(c, f32x4.mul(v128.load(vector + i, 32), v128.load(row + i, 32)));
      d = f32x4.add(d, f32x4.mul(v128.load(vector + i, 48), v128.load(row + i, 48)));
    }
    for (; i < bytes; i += 16) a = f32x4.add(a, f32x4.mul(v128.load(vector + i), v128.load(row + i)));
    a = f32x4.add(f32x4.add(a, b), f32x4.add(c, d));
    store<f32>(out + (<usize>p << 2), lanes(a));
  }
}

/** out = base · factor + more */
export function scaleAdd(out: usize, base: usize, factor: f32, more: usize, width: u32): void {
  const bytes = <usize>width << 2;
  const by = f32x4.splat(factor);
  for (let i: usize = 0; i < bytes; i += 16)
    v128.store(out + i, f32x4.add(f32x4.mul(by, v128.load(base + i)), v128.load(more + i)));
}

/** out = Σ values[order[p]] · rows[row of order[p]] for one latent; the sum of its squares. */
export function gatherSum(out: usize, rows: usize, places: usize, values: usize, order: usize, pairs: u32, width: u32): f64 {
  const bytes = <usize>width << 2;
  memory.fill(out, 0, bytes);
  let p: u32 = 0;
  for (; p + 4 <= pairs; p += 4) {
    const a0 = <usize>load<u32>(order + (<usize>p << 2)) << 2;
    const a1 = <usize>load<u32>(order + (<usize>p << 2), 4) << 2;
    const a2 = <usize>load<u32>(order + (<usize>p << 2), 8) << 2;
    const a3 = <usize>load<u32>(order + (<usize>p << 2), 12) << 2;
    let four = f32x4.splat(load<f32>(values + a0));
    four = f32x4.replace_lane(four, 1, load<f32>(values + a1));
    four = f32x4.replace_lane(four, 2, load<f32>(values + a2));
    four = f32x4.replace_lane(four, 3, load<f32>(values + a3));
    addFour(
      out,
      rows + <usize>load<u32>(places + a0) * bytes,
      rows + <usize>load<u32>(places + a1) * bytes,
      rows + <usize>load<u32>(places + a2) * bytes,
      rows + <usize>load<u32>(places + a3) * bytes,
      four,
      bytes,
    );
  }
  for (; p < pairs; p++) {
    const at = <usize>load<u32>(order + (<usize>p << 2)) << 2;
    addOne(out, rows + <usize>load<u32>(places + at) * bytes, f32x4.splat(load<f32>(values + at)), bytes);
  }
  return pairs == 0 ? 0 : squares(out, width);
}

/** out += row · value */
export function addScaled(out: usize, row: usize, value: f32, width: u32): void {
  scaleAdd(out, row, value, out, width);
}

/** Which numbers are not at most their bounds: their places and values, in order; how many. */
export function above(x: usize, bounds: usize, size: u32, places: usize, values: usize): u32 {
  const bytes = <usize>size << 2;
  let n: usize = 0;
  for (let i: usize = 0; i < bytes; i += 16) {
    let found = i32x4.bitmask(f32x4.le(v128.load(x + i), v128.load(bounds + i))) ^ 15;
    while (found != 0) {
      const at = i + (<usize>ctz(found) << 2);
      store<u32>(places + n, <u32>(at >> 2));
      store<f32>(values + n, load<f32>(x + at));
      found &= found - 1;
      n += 4;
    }
  }
  return <u32>(n >> 2);
}

/** One step of Adam over a parameter; `gradientScale` clips. */
export function adam(
  parameter: usize, gradient: usize, mean: usize, square: usize, size: u32,
  gradientScale: f32, beta1: f32, beta2: f32, rest1: f32, rest2: f32, stepSize: f32, rootScale: f32, eps: f32,
): void {
  const bytes = <usize>size << 2;
  const scale = f32x4.splat(gradientScale), b1 = f32x4.splat(beta1), b2 = f32x4.splat(beta2);
  const r1 = f32x4.splat(rest1), r2 = f32x4.splat(rest2);
  const lr = f32x4.splat(stepSize), root = f32x4.splat(rootScale), e = f32x4.splat(eps);
  for (let i: usize = 0; i < bytes; i += 16) {
    const g = f32x4.mul(v128.load(gradient + i), scale);
    const m = f32x4.add(f32x4.mul(v128.load(mean + i), b1), f32x4.mul(g, r1));
    const v = f32x4.add(f32x4.mul(v128.load(square + i), b2), f32x4.mul(f32x4.mul(g, g), r2));
    v128.store(mean + i, m);
    v128.store(square + i, v);
    const change = f32x4.div(f32x4.mul(m, lr), f32x4.add(f32x4.mul(f32x4.sqrt(v), root), e));
    v128.store(parameter + i, f32x4.sub(v128.load(parameter + i), change));
  }
}

/** Σ x² */
export function squares(x: usize, size: u32): f64 {
  const bytes = <usize>size << 2;
  let a = f64x2.splat(0);
  let b = f64x2.splat(0);
  for (let i: usize = 0; i < bytes; i += 16) {
    const y = v128.load(x + i);
    const low = f64x2.promote_low_f32x4(y);
    const high = f64x2.promote_low_f32x4(v128.shuffle<f32>(y, y, 2, 3, 2, 3));
    a = f64x2.add(a, f64x2.mul(low, low));
    b = f64x2.add(b, f64x2.mul(high, high));
  }
  const both = f64x2.add(a, b);
  return f64x2.extract_lane(both, 0) + f64x2.extract_lane(both, 1);
}

// @ts-ignore: decorator
@inline function lanes(x: v128): f32 {
  return f32x4.extract_lane(x, 0) + f32x4.extract_lane(x, 1) + (f32x4.extract_lane(x, 2) + f32x4.extract_lane(x, 3));
}
