/** A property of objects that only its owner sees. It goes when its object goes. */
export interface HiddenProperty<V> {
  /** Undefined for what is no object, too. */
  get(object: unknown): V | undefined;
  set(object: object, value: V): void;
}

/** Whoever extends it adds private fields to an object that exists. */
class Existing {
  constructor(object: object) {
    // biome-ignore lint/correctness/noConstructorReturn: what makes it work
    return object;
  }
}

/**
 * The property is a private field. A WeakMap does the same, but V8's young collections take its values for live, and a write
 * then costs the process up to a tenth more, because each session's text grows old.
 */
export function hiddenProperty<V>(): HiddenProperty<V> {
  /** Of objects that can get no field. */
  const others = new WeakMap<object, V>();
  // A class for each property: several stores may know of one object.
  return class Holder extends Existing {
    #value: V | undefined;

    static get(given: unknown): V | undefined {
      const object: object = Object(given);
      if (object !== given) return undefined;
      return #value in object ? object.#value : others.get(object);
    }

    static set(object: object, value: V): void {
      if (#value in object) object.#value = value;
      else if (Object.isExtensible(object)) new Holder(object).#value = value;
      else others.set(object, value);
    }
  };
}
