/** A label selector in the form that list requests take (Kubernetes documentation, "Labels and Selectors", API). */
import type { LabelSelector } from '../../api/index.ts';

/** The value of the query parameter `labelSelector`; empty for a selector that means every object. */
export function labelQuery({ matchLabels = {}, matchExpressions = [] }: LabelSelector): string {
  const equal = Object.entries(matchLabels).map(([key, value]) => `${key}=${value}`);
  const further = matchExpressions.map(({ key, operator, values = [] }) => {
    switch (operator) {
      case 'In':
        return `${key} in (${values.join(',')})`;
      case 'NotIn':
        return `${key} notin (${values.join(',')})`;
      case 'Exists':
        return key;
      case 'DoesNotExist':
        return `!${key}`;
    }
  });
  return [...equal, ...further].join(',');
}
