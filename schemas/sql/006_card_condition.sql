-- What `where` of a template leaves to the card that attaches: an expression over vram_gib,
-- bandwidth_gbs, sm and gpu, everything else put in. Empty: nothing.

ALTER TABLE templates ADD COLUMN card_condition TEXT NOT NULL DEFAULT '';
