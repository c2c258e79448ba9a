/** @file Results that read well everywhere: tables and figures as data, and their renderings. */
export { Table, csvLine, fixed, general, type Cell, type Column } from "./table.ts";
