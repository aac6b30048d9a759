interface ClassOptions {
  readonly RESP?: number;
  readonly modules?: object;
  readonly functions?: object;
  readonly scripts?: object;
}

type Factory = (options?: ClassOptions) => unknown;

/**
 * Lets clients with the same commands be of the same class. node-redis keeps only the class that it has made last, and makes another,
 * of 450 commands, for a client with other options: 25 ms of the processor for each address. Thousands of clients of the tests have one of
 * their own. A class depends only on the options that are looked at here.
 */
export function shareClasses(createClient: () => object): void {
  const base: { factory: Factory } = Object.getPrototypeOf(createClient().constructor);
  const { factory } = base;
  const known = new Map<string, unknown>();
  base.factory = (options = {}) => {
    const { RESP, modules = {}, functions, scripts } = options;
    if (functions !== undefined || scripts !== undefined) return factory(options);
    const commands = `RESP ${RESP}, ${Object.keys(modules)}`;
    if (!known.has(commands)) known.set(commands, factory(options));
    return known.get(commands);
  };
}
