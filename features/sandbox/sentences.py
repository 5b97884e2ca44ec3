"""What the sandbox says: sentences of our own, some that carry an emotion in their words and some that do not.

Every word is in the pronouncing dictionary that the pocketsphinx wheel ships, so that everything can be aligned.
"""

from __future__ import annotations

import random
import string

EMOTIONS = ("neutral", "happy", "excited", "angry", "frustrated", "sad", "surprised", "fearful", "disgusted")

SLOTS = {
    "person": ("Anna", "Peter", "Martin", "Julia", "Oliver", "Helen", "my sister", "your brother", "the doctor",
               "our neighbor", "the teacher", "my father"),
    "place": ("the station", "the office", "the kitchen", "the library", "the garden", "the hospital", "the market",
              "the airport", "the old house", "the river"),
    "thing": ("the letter", "the car", "the ticket", "the piano", "the report", "the red coat", "the window",
              "the blue box", "the phone", "the picture", "the key", "the table"),
    "time": ("this morning", "last night", "on Monday", "after dinner", "at noon", "next week", "on Friday",
             "in the evening", "before lunch", "at seven"),
}  # fmt: skip

PLAIN = (
    "{person} put {thing} near the door {time}.",
    "We are going to {place} {time}.",
    "I left {thing} at {place} {time}.",
    "{person} will call from {place} {time}.",
    "They moved {thing} to {place}.",
    "I saw {person} at {place} {time}.",
    "You said that {person} was at {place}.",
    "There is {thing} and there is the bill.",
    "{person} asked me about {thing} {time}.",
    "She wants to talk about {place}.",
    "It takes an hour from here to {place}.",
    "I think {person} knows about {thing}.",
    "So this is what {person} told you {time}.",
    "Come with me to {place} and bring {thing}.",
)
"""No emotion in the words: whatever there is must be heard."""

TELLING = {
    "neutral": (
        "The meeting at {place} starts {time}.",
        "Please put {thing} on the shelf.",
        "The train leaves {time}, as usual.",
        "The number of the room is on {thing}.",
        "{person} works at {place} until five.",
        "You can find {thing} in the second drawer.",
        "According to {person}, the store opens {time}.",
        "First we fill in the form, then we send {thing}.",
    ),
    "happy": (
        "I am so happy that {person} came {time}.",
        "What a lovely day, and {thing} looks wonderful.",
        "That is great news about {person}, I am delighted.",
        "I love {place}, it makes me smile.",
        "We laughed so much with {person} {time}.",
        "Thank you for {thing}, it is a beautiful present.",
        "It was the best party ever, {person} was wonderful.",
        "I am glad, everything went well at {place}.",
    ),
    "excited": (
        "We won, we really won, and {person} was there.",
        "I can't wait to see {place} {time}.",
        "Yes, I got the job at {place}, it is amazing.",
        "This is fantastic, {person} is coming {time}.",
        "Hurry up, this is going to be so much fun.",
        "I am getting married {time}, isn't that amazing.",
    ),
    "angry": (
        "How dare you touch {thing}, get out.",
        "I am furious, {person} lied to me again.",
        "Shut up, I hate the way you talk to {person}.",
        "This is an outrage, give me {thing} now.",
        "You ruined everything, and I hate you for it.",
        "Don't you ever yell at {person} again.",
        "I am sick of your lies, leave {place} now.",
        "Damn it, you broke {thing} again.",
    ),
    "frustrated": (
        "I have told {person} ten times and nobody listens.",
        "Nothing works, {thing} is useless.",
        "Why does this always happen to me at {place}.",
        "I give up, I can't fix {thing}.",
        "This is hopeless, we waited for hours at {place}.",
    ),
    "sad": (
        "I miss {person} so much, I cried {time}.",
        "I am so sorry, {person} died {time}.",
        "I feel so alone since {person} left.",
        "It hurts, I lost {person} and I lost everything.",
        "There is no hope, I just want to cry.",
        "She was crying at {place}, her heart is broken.",
        "I am sad, nobody came to {place} {time}.",
        "We buried {person} {time}, and I feel empty.",
    ),
    "surprised": (
        "What, {person} is at {place}, really",
        "Oh my god, is that {thing}",
        "Wow, I did not expect {person} {time}",
        "You can't be serious, {person} bought {thing}",
        "No way, are you kidding me",
        "I don't believe it, how did {thing} get here",
        "Really, that is incredible, who told {person}",
        "Wait, what, since when does {person} have {thing}",
    ),
    "fearful": (
        "I am scared, there is somebody at {place}.",
        "Please don't leave me alone, I am afraid.",
        "Run, {person} is in danger.",
        "Help me, I am terrified of {place}.",
    ),
    "disgusted": (
        "That is disgusting, {thing} smells awful.",
        "This food is gross, it makes me sick.",
        "What a nasty smell at {place}, I feel sick.",
        "It is revolting what {person} did with {thing}.",
    ),
}  # fmt: skip


MARKS = {"surprised": "?", "angry": "!", "happy": "!", "excited": "!", "fearful": "!"}


def sentence(emotion: str, telling: bool, choose: random.Random) -> str:
    """One sentence as a transcript has it; where the words tell nothing, neither does the punctuation."""
    template = choose.choice(TELLING[emotion] if telling else PLAIN)
    names = [name for _, name, _, _ in string.Formatter().parse(template) if name]
    text = template.format(**{name: choose.choice(SLOTS[name]) for name in names}).rstrip(".")
    return text[0].upper() + text[1:] + (MARKS.get(emotion, ".") if telling else ".")


def as_spoken(text: str, emotion: str) -> str:
    """The sentence with the mark that gives it its melody: surprise asks, anger and joy exclaim."""
    return text[:-1] + MARKS.get(emotion, ".")


def words() -> set[str]:
    """Every word that may be said, lower-case."""
    texts = [*PLAIN, *(text for texts in TELLING.values() for text in texts)]
    texts += [filler for fillers in SLOTS.values() for filler in fillers]
    plain = " ".join(text for text in texts)
    for name in SLOTS:
        plain = plain.replace("{" + name + "}", " ")
    return {word.strip(".,!?").lower() for word in plain.split()} - {""}
