import type { QueryRunner } from "typeorm";

/** Puts the role that the service works with, GREY_DATABASE_ROLE, in the place of `:service_role`. */
export function forServiceRole({ dataSource }: QueryRunner, statements: string): string {
  const { serviceRole } = (dataSource.options as { readonly extra: { readonly serviceRole: string } }).extra;
  return statements.replaceAll(":service_role", `"${serviceRole}"`);
}
