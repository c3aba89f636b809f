import type { MigrationInterface, QueryRunner } from "typeorm";

/**
 * The functions that post find the journal's head by its key.
 *
 * Why: they are planned with enable_seqscan = off, and a scan of the table costs so much then that a server with jit on
 * compiles the statement anew for each batch, which takes longer than the batch.
 * Why the functions are changed where they stand: what they do and how they are called stays, and a version of the service
 * before this one gains by it too. An addition of WHERE is all.
 */
export class OneHead1766600000000 implements MigrationInterface {
  async up(queryRunner: QueryRunner): Promise<void> {
    await replaceInFunctions(queryRunner, WHOLE_TABLE, BY_KEY);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await replaceInFunctions(queryRunner, BY_KEY, WHOLE_TABLE);
  }
}

const WHOLE_TABLE = "clock_timestamp())\n  RETURNING size - cardinality(p_ids)";
const BY_KEY = "clock_timestamp())\n  WHERE id = 1\n  RETURNING size - cardinality(p_ids)";

async function replaceInFunctions(queryRunner: QueryRunner, before: string, after: string): Promise<void> {
  const definitions = (await queryRunner.query(
    `SELECT proname AS name, pg_get_functiondef(oid) AS text FROM pg_proc
     WHERE pronamespace = 'public'::regnamespace AND proname IN ('post_batch', 'post_batch_2', 'post_batch_3')`,
  )) as { readonly name: string; readonly text: string }[];
  for (const { name, text } of definitions) {
    if (text.split(before).length !== 2) throw new Error(`${name} does not read as the migrations before have made it`);
    await queryRunner.query(text.replace(before, after));
  }
}
