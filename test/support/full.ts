/** Whether tests that take minutes run at their whole size (`FULL=1`) or at one that shows the same in seconds. */
export const full: boolean = process.env["FULL"] === "1";
