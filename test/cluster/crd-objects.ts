/** Valid objects of both kinds and the means to spoil them, for tests of what the API server accepts. */
import assert from 'node:assert/strict';
import { parse } from 'yaml';
import type { ApiAnswer, ApiCall } from '../../testbed/control-plane-client.ts';
import type { ControlPlane } from '../../testbed/control-plane.ts';
import { NODE_OS_EXAMPLE, OS_IMAGE_EXAMPLE } from '../../tools/reference-examples.ts';

export type Json = { readonly [key: string]: unknown };

export const OS_IMAGES = '/apis/treeline.dev/v1alpha1/osimages';
export const NODE_OSES = '/apis/treeline.dev/v1alpha1/nodeoses';

/** The example of the reference page, changed by a JSON merge patch (RFC 7386): `null` removes a member. */
export function osImage(patch: Json = {}): Json {
  return mergePatch(parse(OS_IMAGE_EXAMPLE), patch) as Json;
}

export function nodeOS(patch: Json = {}): Json {
  return mergePatch(parse(NODE_OS_EXAMPLE), patch) as Json;
}

/** Asks the API server whether it would create `body`, refusing what it does not know; nothing is stored. */
export function tryCreate(controlPlane: ControlPlane, path: string, body: Json): Promise<ApiAnswer> {
  return controlPlane.call({ method: 'POST', path: `${path}?dryRun=All&fieldValidation=Strict`, body });
}

/** A test for each of `cases`, named by what it spoils: the patch of an OSImage, and what the API server says of it. */
export function itRefusesImages(
  cases: readonly (readonly [spoils: string, patch: Json, message: RegExp])[],
  controlPlane: () => ControlPlane,
): void {
  for (const [spoils, patch, message] of cases) {
    it(`refuses ${spoils}`, async () => {
      const answer = await tryCreate(controlPlane(), OS_IMAGES, osImage(patch));
      assert.equal(answer.code, 422, answer.message);
      assert.match(answer.message, message);
    });
  }
}

/** Like `call`, but throws unless the answer is a success. */
export async function must(controlPlane: ControlPlane, call: ApiCall): Promise<ApiAnswer> {
  const answer = await controlPlane.call(call);
  if (answer.code >= 300) throw new Error(`${call.method ?? 'GET'} ${call.path}: ${answer.code} ${answer.message}`);
  return answer;
}

/** Creates the OSImage `fleet`. */
export async function createFleet(controlPlane: ControlPlane, spec: object): Promise<void> {
  const body = { apiVersion: 'treeline.dev/v1alpha1', kind: 'OSImage', metadata: { name: 'fleet' }, spec };
  await must(controlPlane, { method: 'POST', path: OS_IMAGES, body });
}

function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const result: Record<string, unknown> = isObject(target) ? { ...target } : {};
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete result[name];
    else result[name] = mergePatch(result[name], value);
  }
  return result;
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
