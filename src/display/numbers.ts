/** @file Numbers as text: as C prints them, and as CSV. */

/**
 * A number as C's `%g` writes it: six significant digits, no trailing zeros.
 * @example
 * general(0.00001); // "1e-05"
 */
export function general(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  if (Object.is(value, -0)) return "-0";
  const strip = (digits: string): string => (digits.includes(".") ? digits.replace(/\.?0+$/, "") : digits);
  const [digits, power] = value.toExponential(5).split("e") as [string, string];
  const exponent = Number(power);
  if (exponent >= -4 && exponent < 6) return strip(fixed(value, 5 - exponent));
  return `${strip(digits)}e${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;
}

/**
 * A number with a fixed count of decimals as C's `%.nf` writes it: exact ties go to the even digit.
 * @example
 * fixed(1 / 32, 4); // "0.0312"
 */
export function fixed(value: number, decimals: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  const scaled = Math.abs(value) * 10 ** decimals;
  // Only multiples of 2^-(decimals + 1) lie exactly between two decimals.
  const tie = Number.isInteger(value * 2 ** (decimals + 1)) && scaled % 1 === 0.5;
  const even = tie && Math.floor(scaled) % 2 === 0;
  const sign = value < 0 || Object.is(value, -0) ? "-" : "";
  return sign + (even ? Math.floor(scaled) / 10 ** decimals : Math.abs(value)).toFixed(decimals);
}

/**
 * One line of CSV (RFC 4180) with its line end. Absent and not finite values are empty, lists are JSON.
 * @example
 * csvLine(["a", 1, NaN]).trim(); // "a,1,"
 */
export function csvLine(cells: readonly unknown[]): string {
  const texts = cells.map((cell) => {
    if (cell === null || cell === undefined) return "";
    if (typeof cell === "number") return Number.isFinite(cell) ? String(cell) : "";
    const text = typeof cell === "string" ? cell : JSON.stringify(cell);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  });
  return texts.join(",") + "\r\n";
}
