/**
 * Keeps the Role that lets agents read pull Secrets down to the Secrets that OSImages name. RBAC cannot say "those in
 * use", so the list is written out; agents may read nothing else in the namespace.
 */
import { AGENT_PULL_SECRETS_ROLE, type OSImage } from '../../api/index.ts';
import { isKubeError } from '../errors.ts';
import type { KubeApi } from '../kube/kube-api.ts';
import type { PolicyRule } from '../kube/objects.ts';

export class PullSecretRole {
  readonly #api: Pick<KubeApi, 'getRole' | 'replaceRole'>;
  /** The list that the Role is known to have. */
  #written: string | undefined;

  constructor(api: Pick<KubeApi, 'getRole' | 'replaceRole'>) {
    this.#api = api;
  }

  /** Writes the Role if it does not list exactly the Secrets of `images`. Throws `KubeError`. */
  async keep(images: readonly OSImage[]): Promise<void> {
    const rules = pullSecretRules(images);
    const wanted = JSON.stringify(rules);
    if (this.#written === wanted) return;
    this.#written = undefined;
    try {
      const role = await this.#api.getRole(AGENT_PULL_SECRETS_ROLE);
      if (!sameRules(role.rules ?? [], rules)) await this.#api.replaceRole({ ...role, rules });
    } catch (error) {
      // Without the Role nobody may read anything: fine as long as nobody has to.
      if (rules.length > 0 || !isKubeError(error, 'NotFound')) throw error;
    }
    this.#written = wanted;
  }

  /** Makes the next `keep` look: when another replica may have written meanwhile. */
  forget(): void {
    this.#written = undefined;
  }
}

/** The rules of the Role for `images`: none when no Secret is named, for an empty `resourceNames` would mean all. */
export function pullSecretRules(images: readonly OSImage[]): PolicyRule[] {
  const names = new Set(images.flatMap((image) => image.spec.image.pullSecretRef?.name ?? []));
  if (names.size === 0) return [];
  return [{ apiGroups: [''], resourceNames: [...names].sort(), resources: ['secrets'], verbs: ['get'] }];
}

/** The API server orders the fields of a rule in its own way. */
function sameRules(a: readonly PolicyRule[], b: readonly PolicyRule[]): boolean {
  const text = (rules: readonly PolicyRule[]) =>
    JSON.stringify(rules.map((rule) => [rule.apiGroups, rule.resources, rule.resourceNames, rule.verbs]));
  return text(a) === text(b);
}
