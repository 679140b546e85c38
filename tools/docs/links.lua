-- SPDX-License-Identifier: GPL-2.0
-- Links between the Markdown files become links between pages, or, in the one-file book (-M single), between its parts.

local single = false

local function page(target)
	local lab = target:match("labs/(%d%d%-[%w-]+)/README%.md")
	if lab then return "lab-" .. lab end
	local deck = target:match("slides/([%w-]+)%.md")
	if deck then return deck:match("^%d") and "slides-" .. deck or deck end
	return target:match("^([%w-]+)%.md") or target:match("chapters/([%w-]+)%.md")
end

local function link(el)
	if el.target:match("^%a+:") or el.target:match("^#") then return nil end
	local name, id = page(el.target), el.target:match("#(.*)$")
	if not name then return nil end
	if not single then
		el.target = name .. ".html" .. (id and "#" .. id or "")
		return el
	end
	local number = name:match("^(%d%d)%-")
	if not number then return el.content end -- not in the book: words without a link
	el.target = "#" .. (id or "ch-" .. number)
	return el
end

return {
	{ Meta = function(meta) single = meta.single ~= nil end },
	{ Link = link },
}
