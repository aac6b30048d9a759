const BROWSERS = ["Edg", "Firefox", "Chrome", "Safari"] as const;
const SYSTEMS = ["Android", "iPhone", "iPad", "Windows", "Mac OS", "Linux"] as const;
const IN_FULL: Readonly<Record<string, string>> = { Edg: "Edge", "Mac OS": "macOS" };
const LONGEST = 40;

/**
 * What its user would call a device, by what it says of itself. In these orders, as almost every browser says it is Safari, too,
 * and Android says it is Linux.
 */
export function deviceNamed(userAgent = ""): string {
  const browser = BROWSERS.find((name) => userAgent.includes(name));
  const system = SYSTEMS.find((name) => userAgent.includes(name));
  const known = [browser, system].flatMap((name) => (name === undefined ? [] : (IN_FULL[name] ?? name)));
  // No browser: "curl/8.5.0" is enough of a name.
  const name = known.length > 0 ? known.join(" on ") : (userAgent.split(" ")[0] as string);
  return name.slice(0, LONGEST) || "unknown";
}
