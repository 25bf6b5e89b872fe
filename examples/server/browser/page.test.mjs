// Tests of the web page in a real browser, against a running examples/server.
// browser_test.go starts both; see there for the variables.
import { after, before, describe, test } from "node:test";
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const { SERVER_URL: server, SERVER_PASSWORD: password, CHROMIUM: executablePath, PART: part } = process.env;
// Options of what belongs to a part: everything runs where PART is not set.
const of = (what) => ({ skip: part && part !== what && `belongs to ${what}` });
const manage = `${server}/manage/`;
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

let browser;
before(async () => {
	browser = await chromium.launch({
		executablePath,
		args: ["--no-sandbox"],
		// What people have: pages may be kept for the Back button.
		ignoreDefaultArgs: ["--disable-back-forward-cache"],
	});
});
after(() => browser.close());

// The cookies of each user who has signed in.
const sessions = {};

// signedIn opens a browser window for a user. Whatever the browser complains
// about fails the test, when it ends with calm. A user signs in once.
async function signedIn(user, options = {}) {
	const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
	context.setDefaultTimeout(120_000);
	const page = await context.newPage();
	const complaints = [];
	page.on("console", (m) => {
		// That a page has the status 4xx is no complaint of the page.
		if (["error", "warning"].includes(m.type()) && !/the server responded with a status of 4/.test(m.text())) complaints.push(m.text());
	});
	page.on("pageerror", (e) => complaints.push(String(e)));
	page.on("dialog", (d) => { complaints.push(`dialog: ${d.message()}`); d.dismiss(); });
	// The second is what Back to the answer of a form gets.
	page.on("requestfailed", (r) => { if (!/ERR_ABORTED|ERR_CACHE_MISS/.test(r.failure()?.errorText ?? "")) complaints.push(`${r.url()}: ${r.failure()?.errorText}`); });
	if (sessions[user]) await context.addCookies(sessions[user]);
	else {
		await page.goto(`${server}/`);
		await page.getByLabel("User").fill(user);
		await page.getByLabel("Password").fill(password);
		await page.getByRole("button", { name: "Sign in" }).click();
	}
	await page.goto(manage);
	sessions[user] ??= await context.cookies();
	const calm = async () => {
		assert.deepEqual(complaints, []);
		await context.close();
	};
	return { page, context, calm };
}

let made = 0;
const newName = (what) => `${what} ${process.pid}-${++made}`;

// generate fills the form in and sends it. It returns the secret.
async function generate(page, name, { permissions = ["devices:read"], expires = "30 days" } = {}) {
	await page.goto(`${manage}generate`);
	await page.getByLabel("Name", { exact: true }).fill(name);
	await page.getByRole("radio", { name: expires }).check();
	for (const p of permissions) await page.getByRole("checkbox", { name: p }).check();
	await page.getByRole("button", { name: "Generate" }).click();
	await page.getByRole("heading", { level: 1, name: "API token generated" }).waitFor();
	return page.locator("#secret").textContent();
}

// open opens the line of a token.
async function open(page, name, list = "") {
	await page.goto(`${manage}${list}?q=${encodeURIComponent(name.slice(0, 40))}`);
	await page.getByRole("link", { name, exact: true }).click();
	await page.locator("h1", { hasText: name }).waitFor();
}

async function menu(page, name, action) {
	await page.locator("summary", { hasText: `Actions for ${name}` }).click();
	await page.locator("details.menu[open]").locator("a, button").filter({ hasText: action }).first().click();
}

// remove answers the question whether to delete: what was used of late is asked for.
async function remove(page, button, answer) {
	await page.getByRole("button", { name: button }).waitFor();
	if (await page.locator("#typed").count() > 0) await page.locator("#typed").fill(answer);
	await page.getByRole("button", { name: button }).click();
}

const status = async (secret, path = "/api/devices") =>
	(await fetch(server + path, { headers: { Authorization: `apiToken ${secret}` } })).status;

// back goes back, and returns what the page then is. To a page that answered a
// form the browser may not want to go.
const back = async (page) => {
	await page.goBack({ waitUntil: "load" }).catch(() => {});
	for (let i = 0; ; i++) {
		await page.waitForTimeout(300);
		try {
			return await page.content();
		} catch (e) {
			if (i > 10) throw e;
		}
	}
};

const count = async (page, name) => {
	await page.goto(`${manage}?q=${encodeURIComponent(name)}`);
	return page.locator("a.name").count();
};

// accessible holds a page to WCAG 2.2 AA and best practice, wide and narrow,
// light and dark.
async function accessible(page, state) {
	const everything = { type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] };
	const colours = { type: "rule", values: ["color-contrast"] }; // else the same as in the other colours
	for (const [width, colorScheme, runOnly] of [[1280, "light", everything], [1280, "dark", colours], [375, "dark", everything], [375, "light", colours]]) {
		await page.setViewportSize({ width, height: 800 });
		await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
		if (!await page.evaluate(() => "axe" in window)) await page.evaluate(`${axe}; 0`); // the policy forbids a script element
		const { violations } = await page.evaluate((runOnly) => axe.run(document, { runOnly, resultTypes: ["violations"] }), runOnly);
		assert.deepEqual(violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html).join(" ")}`), [], `${state}, ${width} px, ${colorScheme}`);
	}
	await narrow(page, state);
	await page.setViewportSize({ width: 1280, height: 800 });
	await page.emulateMedia({ colorScheme: "light" });
}

// narrow checks that a page of 320 px is not scrolled sideways.
async function narrow(page, state) {
	await page.setViewportSize({ width: 320, height: 640 });
	const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
	assert.equal(over, 0, `${state}: wider than 320 px`);
}

describe("a user", () => {
	test("generates a token, which is shown once", of("use"), async () => {
		const { page, context, calm } = await signedIn("ada");
		await context.grantPermissions(["clipboard-read", "clipboard-write"]);
		const name = newName("Build");
		assert.equal(await page.locator("nav[aria-label='Environment settings']").getByText("Access management").count(), 1);
		assert.equal(await page.getByRole("link", { name: "API token", exact: true }).count(), 1);

		// The form
		await page.getByLabel("Name", { exact: true }).fill(name);
		await page.getByText(`${name.length} of 200 characters`).waitFor();
		assert.equal(await page.locator("input[name=permission]:checked").count(), 0, "nothing is preselected");
		const all = page.getByRole("checkbox", { name: "Select all of devices" });
		await page.getByRole("checkbox", { name: "devices:read" }).check();
		assert.equal(await all.evaluate((e) => e.indeterminate), true);
		await all.check();
		assert.equal(await page.getByRole("checkbox", { name: "devices:write" }).isChecked(), true);
		assert.equal(await all.evaluate((e) => e.indeterminate), false);
		await all.uncheck();
		assert.equal(await page.locator("input[name=permission]:checked").count(), 0);
		await page.getByRole("checkbox", { name: "devices:read" }).check();
		assert.equal(await page.locator("input[value='reports:read']").count(), 0);
		await page.getByText("that you cannot assign").click();
		await page.locator(".denied").getByText("reports:read").waitFor();
		const summary = page.getByRole("status", { name: "Summary" });
		await summary.getByText("Permissions: 1 of 2").waitFor();
		await page.getByRole("radio", { name: "On a date" }).check();
		await page.getByLabel("Last day on which it can be used").fill("2999-12-31");
		await summary.getByText("Expires: 2999-12-31").waitFor();
		await page.getByRole("radio", { name: "7 days" }).check();
		await page.getByRole("button", { name: "Generate" }).click();

		// The result
		await page.getByRole("heading", { level: 1, name: "API token generated" }).waitFor();
		const secret = await page.locator("#secret").textContent();
		assert.match(secret, /^[a-z]+_[0-9A-Za-z]{66}$/);
		assert.equal(await status(secret), 200);
		assert.equal(page.url(), `${manage}generate`);
		const copy = page.getByRole("button", { name: "Copy", exact: true });
		await copy.click();
		await page.getByRole("button", { name: "Copied" }).waitFor();
		assert.equal(await page.evaluate(() => navigator.clipboard.readText()), secret);
		assert.equal(await page.locator("#curl-header").textContent(), `curl -H 'Authorization: apiToken ${secret}' '${server}/api/devices'`);
		assert.match(await page.locator("#curl-variable").textContent(), /^read -rs [A-Z]+_TOKEN && export [A-Z]+_TOKEN && curl -H "Authorization: apiToken \$[A-Z]+_TOKEN"/);

		// Reloading makes no second token and shows nothing.
		await page.reload();
		await page.getByRole("heading", { name: "This API token was generated already" }).waitFor();
		assert.ok(!(await page.content()).includes(secret));
		assert.ok(!(await back(page)).includes(secret));
		assert.equal(await count(page, name), 1);
		await calm();
	});

	for (const javaScriptEnabled of [true, false]) {
		test(`does not see a secret again by going back, JavaScript ${javaScriptEnabled}`, of(javaScriptEnabled ? "use" : "states"), async () => {
			const { page, calm } = await signedIn("ada", { javaScriptEnabled });
			const name = newName("Back");
			const secret = await generate(page, name);
			await page.getByRole("link", { name: "Done" }).click();
			await page.getByRole("link", { name, exact: true }).waitFor();
			assert.ok(!(await back(page)).includes(secret), "generated");
			assert.equal(await count(page, name), 1);

			await open(page, name);
			await page.getByRole("button", { name: "Show" }).click();
			assert.equal(await page.locator("#secret").textContent(), secret);
			assert.ok(!page.url().includes(secret));
			await page.goto(manage);
			assert.ok(!(await back(page)).includes(secret), "shown");
			await calm();
		});
	}

	test("opens a line, shows the token, and has a request explained", of("use"), async () => {
		const { page, calm } = await signedIn("ada");
		const name = newName("Reader");
		const secret = await generate(page, name);
		await page.goto(manage);
		await page.locator("tr", { hasText: name }).locator("summary", { hasText: "1 permission" }).click();
		await page.locator("tr", { hasText: name }).getByText("devices:read").waitFor();
		await page.getByRole("link", { name, exact: true }).click();
		assert.ok(!(await page.content()).includes(secret));
		await page.getByText("See the devices of the environment").waitFor();
		await page.getByRole("button", { name: "Show" }).click();
		assert.equal(await page.locator("#secret").textContent(), secret);
		await page.reload();
		await page.getByText("Reloading the page does not show the secret again").waitFor();
		assert.ok(!(await page.content()).includes(secret));
		await page.getByLabel("Request").selectOption("POST /api/devices");
		await page.getByRole("button", { name: "Explain" }).click();
		await page.locator("#explain").getByText("The token lacks devices:write.").waitFor();
		await page.getByLabel("Request").selectOption("GET /api/devices");
		await page.getByRole("button", { name: "Explain" }).click();
		await page.getByText("The service would accept this request.").waitFor();
		await page.getByText("Generated by ada").waitFor();
		await calm();
	});

	test("rotates, and ends the overlap either way", of("use"), async () => {
		const { page, calm } = await signedIn("ada");
		const name = newName("Rotated");
		const first = await generate(page, name);
		const rotate = async (overlap) => {
			await open(page, name);
			await page.getByRole("link", { name: "Rotate" }).click();
			await page.getByRole("radio", { name: overlap }).check();
			await page.getByRole("button", { name: "Rotate" }).click();
			await page.getByRole("heading", { name: "API token rotated" }).waitFor();
			return page.locator("#secret").textContent();
		};
		const second = await rotate("1 hour");
		assert.deepEqual([await status(first), await status(second)], [200, 200]);
		await page.reload();
		await page.getByRole("heading", { name: "was rotated already" }).waitFor();
		await open(page, name);
		await page.getByRole("link", { name: "Take the rotation back" }).click();
		await page.getByRole("button", { name: "Take it back" }).click();
		await page.getByText("The rotation was taken back").waitFor();
		assert.deepEqual([await status(first), await status(second)], [200, 401]);
		const third = await rotate("24 hours");
		await open(page, name);
		await page.getByRole("link", { name: "End the old secret" }).click();
		await page.getByRole("button", { name: "End the old secret" }).click();
		await page.getByText("Only the new secret is valid").waitFor();
		assert.deepEqual([await status(first), await status(third)], [401, 200]);
		const fourth = await rotate("End it at once");
		assert.deepEqual([await status(third), await status(fourth)], [401, 200]);
		await calm();
	});

	test("deactivates, activates and deletes, and comes back to the list", of("use"), async () => {
		const { page, calm } = await signedIn("ada");
		const name = newName("Lamp");
		const secret = await generate(page, name);
		await page.goto(`${manage}?q=${encodeURIComponent(name)}`);
		await menu(page, name, "Deactivate");
		const notice = page.locator(".flash", { hasText: `${name}\u2069” deactivated.` });
		await notice.waitFor();
		await page.waitForFunction((name) => document.activeElement.matches("tr") && document.activeElement.textContent.includes(name), name); // focus is on the row
		await page.locator("#said", { hasText: "deactivated." }).waitFor();
		assert.equal(new URL(page.url()).searchParams.get("q"), name, "the list is the one before");
		assert.equal(await status(secret), 401);
		await page.reload();
		assert.equal(await notice.count(), 0, "it is not said twice");
		await menu(page, name, "Activate");
		await page.locator(".flash", { hasText: "” activated." }).waitFor();
		assert.equal(await status(secret), 200);
		await menu(page, name, "Deactivate");
		await page.getByRole("button", { name: "Undo" }).click();
		await page.locator(".flash", { hasText: "” activated." }).waitFor();
		assert.equal(await status(secret), 200);
		await menu(page, name, "Delete");
		await page.getByRole("heading", { name: "Delete this API token?" }).waitFor();
		assert.match(await page.locator(".about").textContent(), new RegExp(`${name}.*(Last used|Never used)`, "s"));
		await page.getByRole("link", { name: "Cancel" }).click();
		await menu(page, name, "Delete");
		await remove(page, "Delete", name);
		await page.locator(".flash", { hasText: "” deleted." }).waitFor();
		await page.getByRole("heading", { name: "No API token matches" }).waitFor();
		await page.getByRole("link", { name: "Clear filters" }).click();
		assert.equal(await status(secret), 401);
		await calm();
	});

	test("sees mistakes beside the field and in a summary", of("use"), async () => {
		const { page, calm } = await signedIn("ada");
		await page.goto(`${manage}generate`);
		await page.getByRole("button", { name: "Generate" }).click();
		const alert = page.getByRole("alert");
		await alert.getByRole("heading", { name: "There are 2 problems" }).waitFor();
		assert.equal(await alert.evaluate((e) => e === document.activeElement), true, "focus is on the summary");
		assert.match(await page.title(), /^Error: /);
		await alert.getByRole("link", { name: "Enter a name" }).click();
		assert.equal(await page.evaluate(() => document.activeElement.id), "name");
		assert.equal(await page.locator("#name").getAttribute("aria-invalid"), "true");
		await calm();
	});

	test("gets a form that a link has filled in", of("use"), async () => {
		const { page, calm } = await signedIn("ada");
		await page.goto(`${manage}generate?name=ci&permission=devices:read&permission=reports:read&expires=90d`);
		await page.getByText("This form was filled in by a link.").waitFor();
		await page.getByText("reports:read, which you do not have yourself").waitFor();
		assert.equal(await page.getByLabel("Name", { exact: true }).inputValue(), "ci");
		assert.equal(await page.getByRole("radio", { name: "90 days" }).isChecked(), true);
		assert.equal(await page.getByRole("checkbox", { name: "devices:read" }).isChecked(), true);
		assert.equal(await page.locator("input[value='reports:read']").count(), 0);
		await calm();
	});

	for (const javaScriptEnabled of [true, false]) {
		test(`edits a token, and checks the change first, JavaScript ${javaScriptEnabled}`, of(javaScriptEnabled ? "use" : "states"), async () => {
			const { page, calm } = await signedIn("ada", { javaScriptEnabled });
			const name = newName("Edit");
			const secret = await generate(page, name);
			assert.equal(await status(secret), 200);
			await open(page, name);
			await page.getByRole("link", { name: "Edit" }).click();
			await page.getByLabel("Name", { exact: true }).fill(`${name} again`);
			await page.getByRole("checkbox", { name: "devices:read" }).uncheck();
			await page.getByRole("checkbox", { name: "devices:write" }).check();
			await page.getByRole("button", { name: "Check the change" }).click();
			await page.getByRole("heading", { level: 1, name: "Check the change" }).waitFor();
			await page.getByRole("row", { name: "Permissions" }).getByText("devices:write").waitFor();
			assert.equal(await status(secret), 200, "nothing is changed yet");
			await page.getByRole("button", { name: "Change something" }).click();
			assert.equal(await page.getByLabel("Name", { exact: true }).inputValue(), `${name} again`);
			await page.getByRole("button", { name: "Check the change" }).click();
			await page.getByRole("button", { name: "Save" }).click();
			await page.locator(".flash", { hasText: "The change is saved." }).waitFor();
			await page.locator("h1", { hasText: `${name} again` }).waitFor();
			assert.equal(await status(secret), 403, "it may no longer read devices");
			await calm();
		});
	}

	test("sends a form again that came after they were signed out", of("use"), async () => {
		const { page, context, calm } = await signedIn("ada");
		const name = newName("Signed out");
		await page.goto(`${manage}generate`);
		await page.getByLabel("Name", { exact: true }).fill(name);
		await page.getByRole("checkbox", { name: "devices:read" }).check();
		const session = await context.cookies();
		await context.clearCookies();
		await page.getByRole("button", { name: "Generate" }).click();
		await page.getByText("You were signed out, and nothing was changed.").waitFor();
		await page.locator("dd", { hasText: name }).waitFor();
		await context.addCookies(session);
		await page.getByRole("button", { name: "Send the form again" }).click();
		await page.getByRole("heading", { level: 1, name: "API token generated" }).waitFor();
		await calm();
	});

	test("generates with the keyboard alone", of("states"), async () => {
		const { page, calm } = await signedIn("ada");
		const name = newName("Keys");
		// tabTo presses Tab until an element has the focus, which has to be seen.
		const tabTo = async (locator) => {
			for (let i = 0; i < 60; i++) {
				await page.keyboard.press("Tab");
				const ring = await page.evaluate(() => {
					let e = document.activeElement;
					if (e === document.body) return "page";
					if (e.type === "radio") e = e.closest(".choice, .segment");
					const s = getComputedStyle(e);
					return s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 2 ? "ring" : e.outerHTML.slice(0, 200);
				});
				assert.match(ring, /^(ring|page)$/);
				if (await locator.evaluate((e) => e === document.activeElement)) return;
			}
			assert.fail(`Tab does not lead to ${locator}`);
		};
		await page.keyboard.press("Tab");
		assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to content");
		await page.keyboard.press("Enter");
		await tabTo(page.getByLabel("Name", { exact: true }));
		await page.keyboard.type(name);
		await tabTo(page.getByRole("checkbox", { name: "devices:read" }));
		await page.keyboard.press("Space");
		await tabTo(page.getByRole("radio", { name: "30 days" }));
		await page.keyboard.press("ArrowDown");
		assert.equal(await page.getByRole("radio", { name: "90 days" }).isChecked(), true);
		await tabTo(page.getByRole("button", { name: "Generate" }));
		await page.keyboard.press("Enter");
		await page.getByRole("heading", { name: "API token generated" }).waitFor();
		await tabTo(page.getByRole("button", { name: "Copy", exact: true }));
		await tabTo(page.getByRole("link", { name: "Done" }));
		await page.keyboard.press("Enter");
		await page.getByRole("link", { name, exact: true }).waitFor();

		const actions = page.locator("summary", { hasText: `Actions for ${name}` });
		await tabTo(actions);
		await page.keyboard.press("Enter");
		assert.equal(await page.locator("details.menu[open]").count(), 1);
		await page.keyboard.press("Escape");
		assert.equal(await page.locator("details.menu[open]").count(), 0);
		assert.equal(await actions.evaluate((e) => e === document.activeElement), true, "focus is back on the button");
		const focused = () => page.evaluate(() => document.activeElement.textContent.trim());
		await page.keyboard.press("ArrowDown");
		assert.equal(await focused(), "Open", "the arrow opens the menu");
		await page.keyboard.press("ArrowUp");
		assert.equal(await focused(), "Delete…");
		await page.keyboard.press("ArrowUp");
		await page.keyboard.press("Enter");
		await page.locator(".flash", { hasText: "” deactivated." }).waitFor();
		await calm();
	});

	test("does all of it without JavaScript", of("states"), async () => {
		const { page, calm } = await signedIn("ada", { javaScriptEnabled: false });
		const name = newName("Plain");
		await page.goto(`${manage}generate`);
		await page.getByRole("button", { name: "Generate" }).click();
		await page.getByRole("heading", { name: "There are 2 problems" }).waitFor();
		const secret = await generate(page, name);
		assert.equal(await page.getByRole("button", { name: "Copy" }).count(), 0, "what does not work is not there");
		assert.equal(await status(secret), 200);
		await open(page, name);
		await page.getByRole("button", { name: "Show" }).click();
		assert.equal(await page.locator("#secret").textContent(), secret);
		await open(page, name);
		await page.getByRole("link", { name: "Rotate" }).click();
		await page.getByRole("radio", { name: "1 hour" }).check();
		await page.getByRole("button", { name: "Rotate" }).click();
		await page.getByRole("link", { name: "Open the token" }).click();
		await page.getByRole("link", { name: "End the old secret" }).click();
		await page.getByRole("button", { name: "End the old secret" }).click();
		await page.getByText("Only the new secret is valid").waitFor();
		await page.goto(`${manage}?q=${encodeURIComponent(name)}`);
		await menu(page, name, "Deactivate");
		await page.locator(".flash", { hasText: "” deactivated." }).waitFor();
		await page.getByRole("checkbox", { name: `Select ${name}` }).check();
		await page.getByRole("button", { name: "Activate", exact: true }).click();
		await page.getByRole("button", { name: "Activate 1 API token" }).click();
		await page.getByText("1 API token activated.").waitFor();
		await page.getByLabel("Status").selectOption("inactive");
		await page.getByRole("button", { name: "Filter" }).click();
		await page.getByRole("heading", { name: "No API token matches" }).waitFor();
		await page.getByRole("link", { name: "Clear filters" }).click();
		await menu(page, name, "Delete");
		await remove(page, "Delete", name);
		await page.locator(".flash", { hasText: "” deleted." }).waitFor();
		assert.equal(await count(page, name), 0);
		await calm();
	});
});

describe("an administrator", () => {
	for (const javaScriptEnabled of [true, false]) {
		test(`manages the tokens of others, JavaScript ${javaScriptEnabled}`, of(javaScriptEnabled ? "use" : "states"), async () => {
			const ada = await signedIn("ada");
			const group = newName("Fleet");
			const names = [1, 2, 3].map((n) => `${group} no${n}`);
			const secrets = [];
			for (const name of names) secrets.push(await generate(ada.page, name));

			const { page, calm } = await signedIn("admin", { javaScriptEnabled });
			await page.getByRole("link", { name: "All API tokens" }).click();
			await page.getByRole("heading", { name: /^All API tokens in .?demo.?$/ }).waitFor();
			await page.getByLabel("Name, owner or identifier").fill(group);
			await page.getByLabel("Owner", { exact: true }).fill("ada");
			await page.getByLabel("Permission").selectOption("devices:read");
			await page.getByLabel("Status").selectOption("active");
			await page.getByRole("button", { name: "Filter" }).click();
			await page.getByText("3 API tokens").waitFor();
			await page.getByRole("link", { name: "Name", exact: true }).click();
			assert.deepEqual(await page.locator("a.name").allTextContents(), names);
			assert.equal(await page.locator("th[aria-sort=ascending]").count(), 1);

			// Several at once, with one confirmation
			if (javaScriptEnabled) {
				assert.equal(await page.getByRole("button", { name: "Deactivate" }).count(), 0);
				await page.getByRole("checkbox", { name: "Select all on this page" }).check();
				await page.getByText("3 selected").waitFor();
				await page.getByRole("checkbox", { name: `Select ${names[2]}` }).uncheck();
				assert.equal(await page.getByRole("checkbox", { name: "Select all on this page" }).evaluate((e) => e.indeterminate), true);
			} else {
				for (const name of names.slice(0, 2)) await page.getByRole("checkbox", { name: `Select ${name}` }).check();
			}
			await page.getByRole("button", { name: "Deactivate" }).click();
			await page.getByRole("heading", { name: "Deactivate 2 API tokens?" }).waitFor();
			await page.getByRole("button", { name: "Deactivate 2 API tokens" }).click();
			await page.getByText("2 API tokens deactivated.").waitFor();
			assert.equal(new URL(page.url()).searchParams.get("owner"), "ada");
			assert.deepEqual(await Promise.all(secrets.map((s) => status(s))), [401, 401, 200]);

			// The owner sees why, and cannot undo it.
			await open(ada.page, names[0]);
			await ada.page.getByText("You can’t activate this token").waitFor();

			await open(page, names[0], "all");
			await page.getByText("Only its owner can see the secret of a token.").waitFor();
			assert.equal(await page.getByRole("button", { name: "Show" }).count(), 0);
			assert.equal(await page.getByRole("link", { name: "Rotate" }).count(), 0);
			await page.getByRole("link", { name: "Activate…", exact: true }).click();
			await page.getByRole("button", { name: "Activate" }).click();
			await page.locator(".flash", { hasText: "” activated." }).waitFor();
			assert.equal(await status(secrets[0]), 200);

			await page.goto(`${manage}all?q=${encodeURIComponent(group)}`);
			for (const name of names) await page.getByRole("checkbox", { name: `Select ${name}` }).check();
			await page.getByRole("button", { name: "Delete" }).click();
			await remove(page, "Delete 3 API tokens", "3");
			await page.getByText("3 API tokens deleted.").waitFor();
			assert.deepEqual(await Promise.all(secrets.map((s) => status(s))), [401, 401, 401]);
			await calm();
			await ada.calm();
		});
	}

	test("is alone in seeing the tokens of others", of("use"), async () => {
		const { page, calm } = await signedIn("ada");
		assert.equal(await page.getByRole("link", { name: "All API tokens" }).count(), 0);
		assert.equal((await page.goto(`${manage}all`)).status(), 403);
		await calm();
	});
});

test("names are text in all places, whatever they contain", of("states"), async () => {
	const { page, calm } = await signedIn("ada");
	const admin = await signedIn("admin");
	const tag = newName("x");
	for (const name of [
		`${tag} <script>alert(1)</script><img src=x onerror=alert(2)>`,
		`${tag} "double" 'single' &amp; \`back\``,
		`${tag} שלום עולם \u{1F469}\u200D\u{1F4BB} end`,
		tag.padEnd(100, " ") + "🦑".repeat(100),
		"🦑".repeat(200),
	]) {
		await generate(page, name);
		assert.equal(await page.locator(".head bdi").textContent(), name);
		await page.getByRole("link", { name: "Open the token" }).click();
		assert.equal(await page.locator("h1").textContent(), name);
		const at = page.url();
		for (const [where, what] of [["", "h1"], ["/rotate", ".about-name"], ["/delete", ".about-name"], ["/deactivate", ".about-name"]]) {
			await page.goto(at + where);
			assert.equal(await page.locator(what).textContent(), name, where);
			await narrow(page, where);
		}
		for (const [p, path] of [[page, ""], [admin.page, "all"]]) {
			await p.goto(manage + path);
			const line = p.locator("tr", { has: p.locator(`a[href$="${at.slice(-17)}"]`) });
			assert.equal(await line.locator("a.name").textContent(), name);
			await line.locator("input[type=checkbox]").check();
			await narrow(p, "list");
			await p.getByRole("button", { name: "Deactivate" }).click();
			assert.equal(await p.locator(".chosen bdi").first().textContent(), name);
			await narrow(p, "bulk");
		}
		await page.goto(`${manage}generate?name=${encodeURIComponent(name)}`);
		assert.equal(await page.locator("#name").inputValue(), name);
		assert.equal(await page.locator("img").count(), 0);
	}
	await calm();
	await admin.calm();
});

test("forms of other sites are refused", of("use"), async () => {
	const { page, context } = await signedIn("ada");
	const name = newName("Forged");
	await page.goto(`${manage}generate`);
	const ticket = await page.locator("input[name=ticket]").inputValue();
	const other = createServer((request, response) => {
		response.setHeader("Content-Type", "text/html");
		response.end(`<form method="post" action="${manage}generate"><input name="ticket" value="${ticket}"><input name="name" value="${name}">
			<input name="expires" value="30d"><input name="permission" value="devices:read"><button>Win</button></form>`);
	});
	await new Promise((ready) => other.listen(0, "127.0.0.1", ready));
	try {
		// Another port is another origin of the same site, which gets the cookie;
		// another name is another site.
		for (const host of ["127.0.0.1", "localhost"]) {
			await page.goto(`http://${host}:${other.address().port}/`);
			const [response] = await Promise.all([page.waitForResponse((r) => r.url().startsWith(manage)), page.getByRole("button").click()]);
			assert.equal(response.status(), 403, host);
		}
	} finally {
		other.close();
	}
	assert.equal(await count(page, name), 0);
	await context.close();
});

describe("every page and state is accessible, light and dark, wide and narrow", of("states"), () => {
	test("for a user", async () => {
		const { page, calm } = await signedIn("ada");
		const name = newName("Axe");
		await generate(page, name);
		await accessible(page, "result");
		await page.reload();
		await accessible(page, "generated already");
		await page.goto(`${manage}?q=${encodeURIComponent(name)}`);
		await accessible(page, "list");
		await page.locator("summary", { hasText: "1 permission" }).click();
		await page.getByRole("checkbox", { name: `Select ${name}` }).check();
		await accessible(page, "list with a selection");
		await page.locator("summary", { hasText: "Actions for" }).click();
		await accessible(page, "list with a menu");
		await page.keyboard.press("Escape");
		await page.getByRole("button", { name: "Delete" }).click();
		await accessible(page, "bulk");
		await page.goto(`${manage}?q=nothing-like-this`);
		await accessible(page, "no match");
		await page.goto(`${manage}generate`);
		await accessible(page, "generate");
		await page.getByRole("button", { name: "Generate" }).click();
		await page.getByRole("alert").waitFor();
		await accessible(page, "generate with mistakes");
		await page.goto(`${manage}generate?name=ci&permission=devices:read,reports:read&expires=2999-12-31&networks=10.0.0.0/8`);
		await accessible(page, "generate from a link");
		await open(page, name);
		await accessible(page, "token");
		await page.getByRole("button", { name: "Show" }).click();
		await accessible(page, "token shown");
		await page.getByLabel("Request").selectOption("POST /api/devices");
		await page.getByRole("button", { name: "Explain" }).click();
		await accessible(page, "token explained");
		const at = page.url().replace(/\?.*/, "");
		await page.goto(`${at}?route=GET+%2Fapi%2Fdevices&from=nowhere`);
		await accessible(page, "token explained with a mistake");
		for (const action of ["deactivate", "delete", "edit", "history", "revoke-made", "rotate"]) {
			await page.goto(`${at}/${action}`);
			await accessible(page, action);
		}
		await page.getByRole("radio", { name: "1 hour" }).check();
		await page.getByRole("button", { name: "Rotate" }).click();
		await accessible(page, "rotated");
		await page.goto(at);
		await accessible(page, "token that is being rotated");
		await page.goto(`${at}/end-overlap?keep=old`);
		await accessible(page, "end of the overlap");
		await page.goto(`${at}/deactivate`);
		await page.getByRole("button", { name: "Deactivate" }).click();
		await accessible(page, "token deactivated");
		await page.goto(`${manage}nothing`);
		await accessible(page, "not found");
		await calm();
	});

	test("for an administrator, and for somebody without tokens", async () => {
		const admin = await signedIn("admin");
		await admin.page.goto(`${manage}all`);
		await accessible(admin.page, "all");
		await admin.page.locator("a.name").last().click();
		await accessible(admin.page, "somebody’s token");
		await admin.page.goto(`${manage}generate`);
		await accessible(admin.page, "generate");
		await admin.calm();
		const grace = await signedIn("grace");
		await accessible(grace.page, "no tokens");
		await grace.calm();
	});
});
