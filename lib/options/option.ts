import { kindOf } from "../redis/client.ts";
import { describeArgument, optionError } from "../reporting/errors.ts";

/**
 * One option. It is a function from what the application gave to the value that the store uses: the default for undefined
 * and null.
 * @throws TypeError that names the option, the expected and the actual value
 */
export interface Option<Given, Value = Given> {
  (given: unknown, name: string): Value;
  /** Never set. It records the type that the application may give. */
  readonly given?: Given;
}

/** Options by name. */
export type OptionTable = Readonly<Record<string, Option<unknown>>>;

/** The object that an application passes for a table: each option may be omitted. */
export type Given<Table extends OptionTable> = {
  readonly [Name in keyof Table]?: (Table[Name] extends Option<infer T, unknown> ? T : never) | undefined;
};

/** The values of all options of a table. */
export type Values<Table extends OptionTable> = {
  readonly [Name in keyof Table]: ReturnType<Table[Name]>;
};

/** The longest delay of a Node timer. */
export const MAX_TIMER_MS: number = 2 ** 31 - 1;

/** Reads all options of a table. @param path precedes their names in errors */
export function readOptions<Table extends OptionTable>(
  table: Table,
  given: Readonly<Record<string, unknown>>,
  path = "",
): Values<Table> {
  const values = Object.entries(table).map(([name, read]) => [name, read(given[name], path + name)]);
  return Object.fromEntries(values) as Values<Table>;
}

/**
 * An option with a check of its own.
 * @param rule.default undefined for none; a function is called for each store
 * @param rule.expected what `accepts` accepts, in words, for the error
 */
export function option<T = undefined>(rule: {
  readonly default?: T | (() => T);
  readonly expected: string;
  readonly accepts: (given: unknown) => boolean;
}): Option<T> {
  return (given, name) => {
    const fallback: unknown = rule.default;
    const value: unknown = given ?? (typeof fallback === "function" ? fallback() : fallback);
    if (given != null && !rule.accepts(given)) throw optionError(name, rule.expected, given);
    return value as T;
  };
}

export function flag(rule: { readonly default: boolean }): Option<boolean> {
  return option({ ...rule, expected: "a boolean", accepts: (given) => typeof given === "boolean" });
}

export function count(rule: { readonly default: number; readonly max?: number }): Option<number> {
  const { max = Number.MAX_SAFE_INTEGER } = rule;
  const accepts = (given: unknown) =>
    Number.isInteger(given) && (given as number) >= 1 && (given as number) <= max;
  const expected = rule.max === undefined ? "a positive whole number" : `a whole number from 1 to ${max}`;
  return option({ ...rule, expected, accepts });
}

export function milliseconds(rule: { readonly default: number }): Option<number> {
  return option({
    ...rule,
    expected: `a number of milliseconds from 1 to ${MAX_TIMER_MS}`,
    accepts: (given) => typeof given === "number" && given >= 1 && given <= MAX_TIMER_MS,
  });
}

export function text(rule: {
  readonly default: string | (() => string);
  readonly minLength: number;
  readonly maxLength: number;
}): Option<string> {
  const { minLength, maxLength } = rule;
  return option({
    ...rule,
    expected: `a string of ${minLength} to ${maxLength} characters`,
    accepts: (given) => typeof given === "string" && given.length >= minLength && given.length <= maxLength,
  });
}

/** A group of options. `false` disables it as a whole, as does its option `enabled`: its value is then undefined. */
export function group<Table extends OptionTable & { readonly enabled: Option<boolean> }>(
  table: Table,
): Option<boolean | Given<Table>, Omit<Values<Table>, "enabled"> | undefined> {
  return (given, name) => {
    if (given === false) return undefined;
    const members = given === true ? {} : (given ?? {});
    if (!isObject(members)) throw optionError(name, "an object or a boolean", given);
    if (kindOf(given) !== undefined) {
      throw optionError(name, "an object of options or a boolean", given, "a client: pass { client }");
    }
    const unknownName = Object.keys(members).find((member) => !Object.hasOwn(table, member));
    if (unknownName !== undefined) {
      const known = Object.keys(table).join(", ");
      throw new TypeError(`${name}.${unknownName}: there is no such option; the options are ${known}`);
    }
    const { enabled, ...others } = table;
    if (!enabled(members["enabled"], `${name}.enabled`)) return undefined;
    return readOptions(others as OptionTable, members, `${name}.`) as Omit<Values<Table>, "enabled">;
  };
}

/**
 * Checks the options of a method, where a misspelt name would change what the method does.
 * @param example of such options, for the error
 * @throws TypeError that names what is wrong
 */
export function checkMethodOptions(
  given: unknown,
  names: readonly string[],
  example: string,
): asserts given is Readonly<Record<string, unknown>> {
  if (!isObject(given)) {
    throw optionError("options", `an object, such as ${example}`, given, describeArgument(given));
  }
  const unknownName = Object.keys(given).find((name) => !names.includes(name));
  if (unknownName === undefined) return;
  throw new TypeError(`${unknownName}: there is no such option; the options are ${names.join(", ")}`);
}

export function isObject(given: unknown): given is Readonly<Record<string, unknown>> {
  return given !== null && typeof given === "object" && !Array.isArray(given);
}
