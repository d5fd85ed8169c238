/** A number of nodes, or a percentage of them, as Deployments have it. */
import * as z from 'zod';

export const positiveIntOrPercentSchema = z.union([z.int().min(1), z.string().regex(/^(100|[1-9][0-9]?)%$/)]).meta({
  'x-kubernetes-validations': [
    {
      rule: "type(self) == int ? int(self) >= 1 : string(self).matches('^(100|[1-9][0-9]?)%$')",
      message: 'must be a whole number of nodes, 1 or more, or a percentage from "1%" to "100%"',
    },
  ],
});

export const intOrPercentSchema = z.union([z.int().min(0), z.string().regex(/^(100|[1-9]?[0-9])%$/)]).meta({
  'x-kubernetes-validations': [
    {
      rule: "type(self) == int ? int(self) >= 0 : string(self).matches('^(100|[1-9]?[0-9])%$')",
      message: 'must be a whole number of nodes, 0 or more, or a percentage from "0%" to "100%"',
    },
  ],
});

/**
 * As `positiveIntOrPercentSchema`, for fields of list items: a CEL rule for each would cost more than the API server allows, so
 * the bounds are those of OpenAPI, of which `minimum` is about numbers and `pattern` about strings.
 */
export const listedIntOrPercentSchema = z
  .union([z.int().min(1), z.string().regex(/^(100|[1-9][0-9]?)%$/)])
  .meta({ minimum: 1, pattern: '^(100|[1-9][0-9]?)%$' });
