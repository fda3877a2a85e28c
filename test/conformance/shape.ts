/** Do two JSON values have the same build? The contents are each model's own. */
import assert from 'node:assert/strict';

/** What is inside these depends on the model or the prompt. */
const OPAQUE = new Set(['model_info', 'arguments', 'families', 'bytes', 'capabilities']);
/** Go leaves these out when there is nothing to say. */
const OPTIONAL = new Set(['parameters', 'system', 'license', 'projector_info', 'messages']);

export interface ShapeOptions {
  /** The same keys in the same order. Otherwise there may be more of them, in any order. */
  strict: boolean;
}

export function assertShape(
  actual: unknown,
  expected: unknown,
  options: ShapeOptions,
  path = '$',
): void {
  assert.equal(kindOf(actual), kindOf(expected), `${path}: kind`);
  if (Array.isArray(expected)) {
    const [model] = expected as unknown[];
    if (model === undefined) return;
    for (const [index, item] of (actual as unknown[]).entries()) {
      assertShape(item, model, options, `${path}[${index}]`);
    }
    return;
  }
  if (kindOf(expected) === 'object') {
    assertKeys(actual as object, expected as object, options, path);
  }
}

function assertKeys(actual: object, expected: object, options: ShapeOptions, path: string): void {
  const keys = (value: object) => Object.keys(value).filter((key) => !OPTIONAL.has(key));
  if (options.strict) assert.deepEqual(keys(actual), keys(expected), `${path}: keys`);
  for (const key of keys(expected)) {
    assert.ok(key in actual, `${path}.${key} is missing`);
    if (OPAQUE.has(key)) continue;
    const pair = [actual, expected].map((value) => (value as Record<string, unknown>)[key]);
    assertShape(pair[0], pair[1], options, `${path}.${key}`);
  }
}

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'array' : typeof value;
}
