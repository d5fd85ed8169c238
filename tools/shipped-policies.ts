/** The admission policies of `manifests/` as data, by which a running operator knows whether they are in force. */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';

const ROOT = join(import.meta.dirname, '..');

interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly spec?: unknown;
}

/** Path of the generated file, from the root of the repository. */
export const SHIPPED_POLICIES_FILE = 'operator/admission/shipped-policies.json';

/** The text of that file: each policy with its binding and the manifest that holds both, by name. */
export function shippedPolicies(): string {
  const policies = globSync('manifests/{base,optional}/*.yaml', { cwd: ROOT }).flatMap((manifest) => {
    const documents = parseAllDocuments(readFileSync(join(ROOT, manifest), 'utf8'));
    const objects = documents.map((document) => document.toJS() as Manifest);
    const named = (kind: string, name: string) =>
      objects.find((object) => object.kind === kind && object.metadata.name === name);
    return objects
      .filter(({ kind }) => kind === 'ValidatingAdmissionPolicy')
      .map(({ metadata: { name }, spec }) => {
        const binding = named('ValidatingAdmissionPolicyBinding', name);
        if (binding === undefined) throw new Error(`${manifest} does not bind its policy ${name}`);
        return { name, manifest, policy: spec, binding: binding.spec };
      });
  });
  policies.sort((left, right) => (left.name < right.name ? -1 : 1));
  return `${JSON.stringify(policies, null, 2)}\n`;
}
