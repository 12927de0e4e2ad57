"""What the pairs of a synthesizer are worth: models side by side on texts held out from tuning.

    tasks/squad/part-0 ──▶ held-out texts ──▶ prompts, 0-shot ──▶ replies (kept) ──▶ measures
                           and gold pairs     prompts, 2-shot ──▶ replies (kept) ──▶ measures

Replies are kept by model, shots and settings; measures are pure functions of them.
"""
