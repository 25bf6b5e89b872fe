// Tests of the web page with long names and many permissions, at all widths; PART=use: at two.
// layout_test.go starts the server.
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const { SERVER_URL: server, CHROMIUM: executablePath, PART: part } = process.env;
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const widths = part === "use" ? [320, 1280] : [320, 375, 768, 985, 1024, 1280, 1440, 1920];
// Options of what belongs to a part: everything runs where PART is not set.
const of = (what) => ({ skip: part && part !== what && `belongs to ${what}` });

let browser, page;
before(async () => {
	browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
	const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, permissions: ["clipboard-read", "clipboard-write"], reducedMotion: "reduce" });
	context.setDefaultTimeout(120_000);
	page = await context.newPage();
});
after(() => browser.close());

// fits checks that what is open is not scrolled sideways.
async function fits(what) {
	for (const width of widths) {
		await page.setViewportSize({ width, height: 800 });
		const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
		assert.equal(over, 0, `${what} at ${width} px`);
	}
}

// contrasts checks the contrast of what is open now, light and dark.
async function contrasts(what) {
	if (!await page.evaluate(() => "axe" in window)) await page.evaluate(`${axe}; 0`);
	for (const colorScheme of ["light", "dark"]) {
		await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
		const violations = await page.evaluate(async () => {
			const { violations } = await axe.run(document, { runOnly: { type: "rule", values: ["color-contrast"] }, resultTypes: ["violations"] });
			return violations.flatMap((v) => v.nodes.map((n) => `${n.html} ${n.failureSummary}`));
		});
		assert.deepEqual(violations, [], `${what}, ${colorScheme}`);
	}
	await page.emulateMedia({ colorScheme: "light" });
}

test("no page is scrolled sideways at any width", async () => {
	const token = "00000000000000001", ids = [0, 1, 2, 3].map((n) => `id=0${String(n).padStart(16, "0")}`).join("&");
	for (const path of [
		"", "all", "all?owner=maximiliane.von-hohenstein@engineering.example.com", "generate", `tokens/${token}`, `tokens/${token}/delete?back=all`, `tokens/${token}/rotate`,
		`bulk?action=delete&${ids}`, "bulk?action=deactivate&all=1&back=all", "revoke?owner=ada@example.com",
	]) {
		await page.goto(`${server}/${path}`);
		await fits(path);
	}
});

test("a row of a list is one line where there is room for it, and its owner can be read", async () => {
	await page.goto(`${server}/all`);
	for (const width of widths.filter((w) => w >= 985)) {
		await page.setViewportSize({ width, height: 800 });
		const { highest, owner } = await page.evaluate(() => ({
			highest: Math.max(...[...document.querySelectorAll(".tokens tbody tr")].map((tr) => tr.getBoundingClientRect().height)),
			owner: document.querySelector("td.c-owner").getBoundingClientRect().width,
		}));
		assert.ok(highest <= 56, `${highest} px high at ${width} px`);
		assert.ok(owner >= 150, `the owner has ${owner} px at ${width} px`);
	}
	await page.setViewportSize({ width: 1280, height: 800 });
	const permissions = page.locator("details.few", { hasText: "120 permissions" }).first();
	await permissions.locator("summary").click();
	assert.ok((await permissions.locator("ul").boundingBox()).height <= 300, "what opens does not push the list away");
	await page.keyboard.press("Escape");
	assert.equal(await page.locator("details.few[open]").count(), 0);
});

test("what is hovered, busy or copied can be read", of("states"), async () => {
	await page.setViewportSize({ width: 1280, height: 800 });
	await page.goto(`${server}/all`);
	await page.locator("tbody tr").nth(1).hover();
	await contrasts("a row that is hovered");
	await page.getByRole("checkbox", { name: "Select all on this page" }).check();
	await page.getByRole("button", { name: "Delete" }).hover();
	await contrasts("a selection");
	await page.locator("tbody tr").nth(1).locator(".menu summary").click();
	await page.locator("details.menu[open] button").first().hover();
	await contrasts("a menu");
	await page.goto(`${server}/tokens/00000000000000002/deactivate`);
	await page.evaluate(() => document.querySelector("form[data-once]").setAttribute("aria-busy", "true"));
	await contrasts("a form that was sent");
	await page.goto(`${server}/generate`);
	await page.getByLabel("Name", { exact: true }).fill("Contrast");
	await page.evaluate(() => { document.querySelector('input[name="permission"]').checked = true; });
	await page.evaluate(() => { const r = document.querySelector('input[name="expires"][value="30d"]'); if (r) r.checked = true; });
	await page.locator("[data-token-form] button:not([type=button])").last().click();
	await page.locator("#secret").waitFor();
	await page.getByRole("button", { name: "Copy", exact: true }).click();
	await page.locator(".button.copied").hover();
	await contrasts("copied, and hovered");
});

test("after a change, the list is at the row that was changed", of("use"), async () => {
	await page.setViewportSize({ width: 1280, height: 800 });
	await page.goto(`${server}/all`);
	const row = page.locator("tbody tr").nth(41);
	const id = await row.getAttribute("id");
	await row.locator(".menu summary").click();
	await row.locator("details.menu button").click();
	await page.locator(".flash").waitFor();
	await page.waitForFunction((id) => document.activeElement.closest("tr")?.id === id, id); // focus is on the row
	for (const what of [`#${id}`, ".flash"]) {
		const seen = await page.locator(what).evaluate((e) => { const r = e.getBoundingClientRect(); return r.top >= 0 && r.bottom <= innerHeight; });
		assert.ok(seen, `${what} can be seen`);
	}
	assert.equal(new URL(page.url()).search, "", "the address says it once");
});
