// The sparse part of training a top-k SAE, in AssemblyScript; `scripts/build-kernels.mjs` compiles it into kernels.wasm.ts.
// Pointers are bytes, widths are multiples of 4 floats, pairs are (latent, value) lists of the tokens one after another.

/** out = base + Σ values · rows[latents]; the sum of its squares. */
export function addRows(out: usize, base: usize, rows: usize, latents: usize, values: usize, pairs: u32, width: u32): f64 {
  const bytes = <usize>width << 2;
  memory.copy(out, base, bytes);
  for (let p: u32 = 0; p < pairs; p++) {
    const row = rows + <usize>load<u32>(latents + (<usize>p << 2)) * bytes;
    const value = f32x4.splat(load<f32>(values + (<usize>p << 2)));
    for (let i: usize = 0; i < bytes; i += 16)
      v128.store(out + i, f32x4.add(v128.load(out + i), f32x4.mul(value, v128.load(row + i))));
  }
  return squares(out, width);
}

/** out[p] = vector · rows[latents[p]] */
export function dotRows(out: usize, vector: usize, rows: usize, latents: usize, pairs: u32, width: u32): void {
  const bytes = <usize>width << 2;
  for (let p: u32 = 0; p < pairs; p++) {
    const row = rows + <usize>load<u32>(latents + (<usize>p << 2)) * bytes;
    let a = f32x4.splat(0);
    let b = f32x4.splat(0);
    let i: usize = 0;
    for (; i + 32 <= bytes; i += 32) {
      a = f32x4.add(a, f32x4.mul(v128.load(vector + i), v128.load(row + i)));
      b = f32x4.add(b, f32x4.mul(v128.load(vector + i, 16), v128.load(row + i, 16)));
    }
    if (i < bytes) a = f32x4.add(a, f32x4.mul(v128.load(vector + i), v128.load(row + i)));
    store<f32>(out + (<usize>p << 2), lanes(f32x4.add(a, b)));
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
  for (let p: u32 = 0; p < pairs; p++) {
    const at = <usize>load<u32>(order + (<usize>p << 2)) << 2;
    const row = rows + <usize>load<u32>(places + at) * bytes;
    const value = f32x4.splat(load<f32>(values + at));
    for (let i: usize = 0; i < bytes; i += 16)
      v128.store(out + i, f32x4.add(v128.load(out + i), f32x4.mul(value, v128.load(row + i))));
  }
  return pairs == 0 ? 0 : squares(out, width);
}

/** out += row · value */
export function addScaled(out: usize, row: usize, value: f32, width: u32): void {
  scaleAdd(out, row, value, out, width);
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
