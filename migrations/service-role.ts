import type { QueryRunner } from "typeorm";

/** Replaces `:service_role` by the role that the service assumes, GREY_DATABASE_ROLE. */
export function forServiceRole({ dataSource }: QueryRunner, statements: string): string {
  const { serviceRole } = (dataSource.options as { readonly extra: { readonly serviceRole: string } }).extra;
  return statements.replaceAll(":service_role", `"${serviceRole}"`);
}
