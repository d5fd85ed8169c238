/**
 * Whether an admission policy is in force as this version ships it. What makes it refuse less is a deviation; what makes it
 * refuse more is the cluster's own affair.
 */
import { isDeepStrictEqual } from 'node:util';
import type { BindingSpec, Named, PolicySpec, ResourceRule, ShippedPolicy } from './shipped-policies.ts';

/** The two objects as the API server has them; absent: it has none of that name. */
export interface LivePolicy {
  readonly policy?: { readonly spec?: PolicySpec };
  readonly binding?: { readonly spec?: BindingSpec };
}

/** What is wrong with `live`, each as a clause without its subject; none when it promises all that `shipped` does. */
export function deviations(shipped: ShippedPolicy, { policy, binding }: LivePolicy): readonly string[] {
  if (policy === undefined) return ['is not there'];
  return [
    ...deviationsOfPolicy(shipped.policy, policy.spec ?? {}),
    ...(binding === undefined ? ['is not bound'] : deviationsOfBinding(shipped.binding, binding.spec ?? {})),
  ];
}

function deviationsOfPolicy(ours: PolicySpec, theirs: PolicySpec): readonly string[] {
  const found: string[] = [];
  if (theirs.failurePolicy !== 'Fail') found.push(`fails open (failurePolicy ${theirs.failurePolicy ?? 'unset'})`);
  if (theirs.paramKind !== undefined) found.push('depends on parameters (paramKind)');
  const match = theirs.matchConstraints ?? {};
  const rules = (match.resourceRules ?? []).map(canonical);
  const covered = (ours.matchConstraints?.resourceRules ?? []).every((rule) =>
    rules.some((one) => isDeepStrictEqual(one, canonical(rule))),
  );
  if (!covered) found.push('is not about all that it should be about (matchConstraints.resourceRules)');
  const narrow = (['namespaceSelector', 'objectSelector', 'excludeResourceRules'] as const).filter(
    (name) => Object.keys(match[name] ?? {}).length > 0,
  );
  if (narrow.length > 0) found.push(`leaves out some objects (matchConstraints.${narrow.join(', ')})`);
  const further = theirs.matchConditions?.find((condition) => !holds(ours.matchConditions, condition));
  if (further !== undefined) found.push(`leaves out some requests (matchConditions ${further.name})`);
  const variable = ours.variables?.find((one) => !holds(theirs.variables, one));
  if (variable !== undefined) found.push(`understands something else by the variable ${variable.name}`);
  const expressions = new Set(theirs.validations?.map(({ expression }) => expression));
  const lacking = ours.validations?.find(({ expression }) => !expressions.has(expression));
  if (lacking !== undefined) found.push(`lacks the validation "${lacking.message ?? lacking.expression}"`);
  return found;
}

function deviationsOfBinding(ours: BindingSpec, theirs: BindingSpec): readonly string[] {
  const found: string[] = [];
  if (theirs.policyName !== ours.policyName) found.push(`is not bound (its binding is of ${theirs.policyName ?? ''})`);
  const actions = theirs.validationActions ?? [];
  if (!actions.includes('Deny')) found.push(`does not deny (validationActions ${actions.join(', ') || 'unset'})`);
  if (theirs.paramRef !== undefined) found.push('is bound with parameters (paramRef)');
  // What the API server fills in by default leaves nothing out.
  const { matchPolicy: _kinds, ...narrow } = Object(theirs.matchResources) as Record<string, object | undefined>;
  if (Object.values(narrow).some((part) => Object.keys(part ?? {}).length > 0))
    found.push('is bound for some objects only (matchResources)');
  return found;
}

function holds(those: readonly Named[] | undefined, { name, expression }: Named): boolean {
  return those?.some((one) => one.name === name && one.expression === expression) === true;
}

/** Order means nothing in a rule, and `*` is the default of its scope. */
function canonical(rule: ResourceRule): object {
  const sorted = (list: readonly string[] | undefined) => [...(list ?? [])].sort();
  return {
    apiGroups: sorted(rule.apiGroups),
    apiVersions: sorted(rule.apiVersions),
    resources: sorted(rule.resources),
    resourceNames: sorted(rule.resourceNames),
    operations: sorted(rule.operations),
    scope: rule.scope ?? '*',
  };
}
