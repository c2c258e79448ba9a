/** The notebook's text. */
export declare function notebookOf(source: string): string;
