/** The admission policies that this version ships, and which of them an operator that runs as told relies on. */
import type { OperatorOptions } from '../options.ts';
import { DEFAULT_NAMESPACE } from '../../api/index.ts';
import shipped from './shipped-policies.json' with { type: 'json' };

/** As much of a ValidatingAdmissionPolicy's `spec` as ours use. */
export interface PolicySpec {
  readonly failurePolicy?: string;
  readonly paramKind?: unknown;
  readonly matchConstraints?: {
    readonly resourceRules?: readonly ResourceRule[];
    readonly excludeResourceRules?: readonly unknown[];
    readonly namespaceSelector?: object;
    readonly objectSelector?: object;
  };
  readonly matchConditions?: readonly Named[];
  readonly variables?: readonly Named[];
  readonly validations?: readonly { readonly expression: string; readonly message?: string }[];
}

export interface ResourceRule {
  readonly apiGroups?: readonly string[];
  readonly apiVersions?: readonly string[];
  readonly resources?: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly operations?: readonly string[];
  readonly scope?: string;
}

export interface Named {
  readonly name: string;
  readonly expression: string;
}

/** As much of a ValidatingAdmissionPolicyBinding's `spec` as ours use. */
export interface BindingSpec {
  readonly policyName?: string;
  readonly paramRef?: unknown;
  readonly matchResources?: object;
  readonly validationActions?: readonly string[];
}

export interface ShippedPolicy {
  /** Of the policy and of its binding. */
  readonly name: string;
  /** The file that holds both, from the root of the repository. */
  readonly manifest: string;
  readonly policy: PolicySpec;
  readonly binding: BindingSpec;
}

type Choices = Pick<OperatorOptions, 'builds' | 'lifecycleConditions' | 'maintenanceLeases' | 'namespace'>;

/** Manifests that not every operator needs. */
const NEEDED: Readonly<Record<string, (choices: Choices) => boolean>> = {
  'manifests/optional/operator-builds.yaml': ({ builds }) => builds !== undefined,
  'manifests/optional/operator-lifecycle-conditions.yaml': ({ lifecycleConditions }) => lifecycleConditions === true,
  'manifests/optional/operator-maintenance-leases.yaml': ({ maintenanceLeases }) => maintenanceLeases !== undefined,
};

/** What must be in force for an operator with these options; as in its own namespace, where that is not the usual one. */
export function policiesFor(choices: Choices): readonly ShippedPolicy[] {
  const needed = (shipped as readonly ShippedPolicy[]).filter(({ manifest }) => NEEDED[manifest]?.(choices) ?? true);
  const text = JSON.stringify(needed).replaceAll(DEFAULT_NAMESPACE, choices.namespace);
  return JSON.parse(text) as readonly ShippedPolicy[];
}
