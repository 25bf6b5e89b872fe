// What the forms about a token, and the tables beside them, do beyond what works
// without it. Texts come from the page, in its language.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
	const all = (selector, root = document) => [...root.querySelectorAll(selector)];
	const one = (selector, root = document) => root.querySelector(selector);
	const fill = (text, ...values) => values.reduce((t, v, i) => t.replaceAll(`{${i + 1}}`, v), text);
	const say = (text) => { one("#said").textContent = text; };
	const wordsOf = (input) => input.value.toLowerCase().split(/\s+/).filter(Boolean);

	// Long tables are filtered by text.
	for (const box of all("[data-filter]")) {
		const section = box.closest("section");
		const rows = all("tbody > tr", section);
		const find = one("input", box);
		box.hidden = rows.length <= 10;
		find.addEventListener("input", () => {
			const words = wordsOf(find);
			for (const r of rows) r.hidden = !words.every((w) => r.textContent.toLowerCase().includes(w));
			for (const d of all("details", section)) d.open = words.length > 0;
			say(fill(find.dataset.shown, rows.filter((r) => !r.hidden).length));
		});
	}

	for (const form of all("[data-token-form]")) {
		const boxes = all('input[name="permission"]', form);
		const groups = all("[data-group]", form).map((node) => ({
			node,
			open: node.open,
			every: one("[data-group-all]", node),
			count: one("[data-count]", node),
			boxes: all('input[name="permission"]', node),
		}));
		const shown = (b) => !b.closest("li").hidden;
		const chosen = one("[data-chosen]", form);
		const summary = one("[data-summary]", form);
		const date = one("#date", form);

		// when returns the words for the chosen expiry.
		const when = () => {
			const radio = one('input[name="expires"]:checked', form);
			if (!radio || radio.value === "date") return date.value || "…";
			return one("small", radio.parentElement)?.textContent || one("b", radio.parentElement).textContent;
		};
		const update = () => {
			const names = boxes.filter((b) => b.checked).map((b) => b.value);
			chosen.hidden = names.length === 0 || groups.every((g) => g.node.open);
			chosen.replaceChildren(...names.slice(0, 12).map((name) => {
				const li = document.createElement("li");
				li.append(document.createElement("code"));
				li.firstChild.textContent = name;
				return li;
			}));
			if (names.length > 12) {
				const li = document.createElement("li");
				li.textContent = fill(chosen.dataset.more, names.length - 12);
				chosen.append(li);
			}
			for (const g of groups) {
				const n = g.boxes.filter((b) => b.checked).length;
				g.count.textContent = fill(g.count.dataset.count, n, g.boxes.length);
				g.count.classList.toggle("some", n > 0);
				if (!g.every) continue;
				const visible = g.boxes.filter(shown);
				const m = visible.filter((b) => b.checked).length;
				g.every.checked = m > 0 && m === visible.length;
				g.every.indeterminate = m > 0 && m < visible.length;
			}
			const text = [fill(summary.dataset.permissions, names.length, boxes.length), fill(summary.dataset.expires, when())].join(" · ");
			if (summary.textContent !== text) summary.textContent = text;
		};
		for (const g of groups) {
			g.node.addEventListener("toggle", update);
			if (!g.every) continue;
			g.every.closest("label").hidden = false;
			g.every.addEventListener("change", () => {
				// Only what the search shows: nobody selects what they do not see.
				for (const b of g.boxes) if (shown(b)) b.checked = g.every.checked;
				update();
			});
		}

		const tools = one("[data-tools]", form);
		tools.hidden = boxes.length < 6;
		const find = one("[data-search]", tools);
		find.addEventListener("keydown", (event) => { if (event.key === "Enter") event.preventDefault(); });
		find.addEventListener("input", () => {
			const words = wordsOf(find);
			let visible = 0;
			for (const g of groups) {
				let n = 0;
				for (const b of g.boxes) {
					const item = b.closest("li");
					item.hidden = !words.every((w) => item.dataset.permission.toLowerCase().includes(w));
					if (!item.hidden) n++;
				}
				g.node.hidden = n === 0;
				g.node.open = words.length > 0 || g.open;
				visible += n;
			}
			one("[data-no-match]", form).hidden = visible > 0;
			say(fill(find.dataset.shown, visible));
			update();
		});
		const read = one("[data-all-read]", tools);
		const reads = boxes.filter((b) => /[:.]read$/.test(b.value));
		read.hidden = reads.length === 0;
		read.addEventListener("click", () => {
			for (const b of reads) if (shown(b)) b.checked = true;
			update();
		});
		one("[data-clear]", tools).addEventListener("click", () => {
			for (const b of boxes) b.checked = false;
			update();
		});

		// The first button is that of a search. To press Enter elsewhere sends the form.
		form.addEventListener("keydown", (event) => {
			const search = event.target.hasAttribute("data-find");
			if (event.defaultPrevented || event.key !== "Enter" || event.target.tagName !== "INPUT" || (!search && !one("[data-find]", form))) return;
			event.preventDefault();
			form.requestSubmit(one(search ? 'button[value="find"]' : ".submit .primary", search ? event.target.closest("fieldset") : form));
		});
		date.addEventListener("input", () => { one("#expires-date", form).checked = true; });
		form.addEventListener("input", (event) => {
			// That of a group has not changed the others yet; its own listener updates.
			if (!event.target.hasAttribute("data-group-all")) update();
		});
		addEventListener("pageshow", update); // browsers restore what was checked
		summary.hidden = false;
		update();
	}
});
