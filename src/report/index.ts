/** @file Dashboards and the report page of a store. */
export {};
