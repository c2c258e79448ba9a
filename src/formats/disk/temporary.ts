/** @file Names of files that are being written; one that is found later is left over from a process that died. */

/** A name beside a file, for nobody else. */
export const temporaryName = (file: string): string => `${file}.${crypto.randomUUID()}.tmp`;

export const isTemporary = (name: string): boolean => name.endsWith(".tmp");
